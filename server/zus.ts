// SPDX-License-Identifier: BSD-3-Clause

/** `zus`: the program, and the code of each of its threads. */

import { isMainThread, workerData } from 'node:worker_threads';
import { loadFileSystems } from './fs/index.ts';
import { helpWorker } from './zt/helpers.ts';
import { mountWorker } from './zt/mount-worker.ts';
import type { ThreadData } from './zt/threads.ts';
import { ztWorker } from './zt/zt-worker.ts';

if (isMainThread) {
  // Threads do without it: what is not loaded need not be compiled, once a thread.
  const { main } = await import('./main.ts');
  process.exitCode = await main(process.argv.slice(2), new URL(import.meta.url));
} else {
  const data = workerData as ThreadData;
  if (data.role === 'mount') await mountWorker(data, loadFileSystems);
  else if (data.role === 'help') await helpWorker(data, loadFileSystems);
  else await ztWorker(data, loadFileSystems);
}
