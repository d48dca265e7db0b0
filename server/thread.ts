// SPDX-License-Identifier: BSD-3-Clause

/**
 * The program of every thread but the main one. What it takes to load this is paid once a thread before the server can serve:
 * nothing that only the main thread needs belongs here, nor a large module of Node's own.
 */

import { workerData } from 'node:worker_threads';
import { loadFileSystems } from './fs/index.ts';
import { helpWorker } from './zt/helpers.ts';
import { mountWorker } from './zt/mount-worker.ts';
import type { ThreadData } from './zt/threads.ts';
import { ztWorker } from './zt/zt-worker.ts';

const data = workerData as ThreadData;
// What goes wrong in it ends the worker with an error.
if (data.role === 'mount') void mountWorker(data, loadFileSystems);
else if (data.role === 'help') void helpWorker(data, loadFileSystems);
else void ztWorker(data, loadFileSystems);
