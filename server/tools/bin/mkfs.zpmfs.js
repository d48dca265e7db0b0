#!/usr/bin/env node
// SPDX-License-Identifier: BSD-3-Clause
import { main } from '../mkfs.ts';

process.exitCode = await main(process.argv.slice(2));
