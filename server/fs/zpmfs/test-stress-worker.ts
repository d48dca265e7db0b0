// SPDX-License-Identifier: BSD-3-Clause

/** For tests: one ZT in an isolate of its own, working in a directory of its own of a mount that others use too. */

import { parentPort, workerData } from 'node:worker_threads';
import { DirectoryLocks } from '../../zt/fake-locks.ts';
import { ModelRun } from './test-model.ts';
import { type JoinedMount, joinMount } from './test-volume.ts';

/** The root of `mounted` is the worker's directory unless they share one. */
export interface StressData extends JoinedMount {
  readonly seed: number;
  readonly steps: number;
  /** Directories to work in together with the others, and the locks on them; null: the root is the worker's own. */
  readonly sharing: { readonly locks: SharedArrayBuffer; readonly directories: readonly string[] } | null;
}

const { zt, seed, steps, address, length, mounted, sharing } = workerData as StressData;

const kernel = joinMount({ zt, address, length, mounted });
const fs = kernel.mount();
if (sharing !== null) fs.locks = new DirectoryLocks(sharing.locks);
const own = sharing === null ? null : { prefix: `of-${zt}-`, directories: sharing.directories };
const run = new ModelRun(seed, () => fs, own);
let done = 0;
for (let step = 1; step <= steps; step++) {
  if (run.step() === 'OK') done++;
  if (step % 50 === 0) {
    fs.dropCaches();
    run.compare();
  }
}
run.compare();
fs.dropCaches();
parentPort?.postMessage({ done, reports: kernel.reports });
