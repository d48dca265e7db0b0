#!/usr/bin/env node
// SPDX-License-Identifier: BSD-3-Clause
import { main } from '../dump.ts';

process.exitCode = await main(process.argv.slice(2));
