#!/usr/bin/env node
// SPDX-License-Identifier: BSD-3-Clause

/** `zus`: the program. */

import { main } from './main.ts';

process.exitCode = await main(process.argv.slice(2), new URL('thread.ts', import.meta.url));
