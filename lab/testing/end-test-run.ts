// SPDX-License-Identifier: BSD-3-Clause

import { endTestRun } from './test-run.ts';

await endTestRun(process.argv[2]);
