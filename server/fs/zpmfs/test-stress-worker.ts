// SPDX-License-Identifier: BSD-3-Clause

/** For tests: one ZT in an isolate of its own, working in a directory of its own of a mount that others use too. */

import { parentPort, workerData } from 'node:worker_threads';
import { FakeKernel } from '../../zt/fake-kernel.ts';
import { DirectoryLocks } from '../../zt/fake-locks.ts';
import type { FileSystem, MountResult } from '../filesystem.ts';
import { ModelRun } from './test-model.ts';
import { addon } from './test-volume.ts';
import { zpmfs } from './zpmfs.ts';

export interface StressData {
  readonly zt: number;
  readonly seed: number;
  readonly steps: number;
  readonly address: number;
  readonly length: number;
  /** The mount that the main thread made, with the worker's directory for its root unless they share one. */
  readonly mounted: MountResult;
  /** Directories to work in together with the others, and the locks on them; null: the root is the worker's own. */
  readonly sharing: { readonly locks: SharedArrayBuffer; readonly directories: readonly string[] } | null;
}

const { zt, seed, steps, address, length, mounted, sharing } = workerData as StressData;

/** Take part in a mount instead of making one. */
const joined: FileSystem = {
  ...zpmfs,
  mount: () => mounted,
  unmount: () => {},
  attach: (request) => zpmfs.attach({ ...request, zt, cpu: zt }),
};

const kernel = new FakeKernel({ fileSystem: joined, memory: { address, length }, addon });
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
