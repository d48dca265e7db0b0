// SPDX-License-Identifier: BSD-3-Clause

/** A worker that runs the loop of a ZT over a `CommandMix` and tells what it cost. */

import { GCProfiler, getHeapSpaceStatistics } from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import { loadFileSystems } from '../../fs/index.ts';
import { loadAddon } from '../../native/load.ts';
import { collectGarbage } from '../collect-garbage.ts';
import { FakeKernel } from '../fake-kernel.ts';
import { runZt } from '../zt-loop.ts';
import { CommandMix, countLatency, latencyPercentile } from './command-mix.ts';

export interface ZtThreadData {
  readonly addon: string;
  readonly fileSystem: string;
  readonly operations: number;
  /** Allocate an object at each operation, to see that the measurement finds it. */
  readonly wasteful: boolean;
}

export interface ZtThreadResult {
  readonly operations: number;
  readonly errors: number;
  readonly failedCommand: number;
  readonly collections: readonly string[];
  /** What new space grew by: all that was allocated, when nothing was collected. */
  readonly allocatedBytes: number;
  readonly nanosecondsPerOperation: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

const data = workerData as ZtThreadData;
const addon = loadAddon(data.addon);
const [fileSystem] = await loadFileSystems([data.fileSystem]);
const bytes = 64 << 20;
const memory = {
  address: addon.mmapAnonymous(bytes),
  length: bytes,
  nodes: [{ node: 0, offset: 0, length: bytes }],
};
fileSystem.formatScratch?.(addon, memory);
const kernel = new FakeKernel({ addon, fileSystem, memory });
const fs = kernel.mount();

/** Times each operation as the server sees it: from the return of one wait to the next. */
class TimedDispatcher {
  readonly histogram = new Uint32Array(64 * 16);
  readonly #waste: object[] = [];
  dispatch = (): void => {
    const started = addon.monotonic();
    kernel.zt.dispatcher.dispatch();
    countLatency(this.histogram, addon.monotonic() - started);
    if (data.wasteful) this.#waste[0] = { started };
  };
}

const timed = new TimedDispatcher();
runZt(new CommandMix(kernel, fs, 300_000), timed);
timed.histogram.fill(0);
fs.unlink('/mix/file');
fs.rmdir('/mix');
const mix = new CommandMix(kernel, fs, data.operations);

// As the threads of the server do when they are warm.
collectGarbage();
const newSpace = () =>
  getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_used_size ?? 0;
const profiler = new GCProfiler();
profiler.start();
const before = newSpace();
const started = addon.monotonic();
const result = runZt(mix, timed);
const elapsed = addon.monotonic() - started;
const after = newSpace();
const collections = profiler.stop()?.statistics.map(({ gcType }) => gcType) ?? [];
if (result !== 0) throw new Error(`the loop ended with ${result}`);
parentPort?.postMessage({
  operations: mix.done,
  errors: mix.errors,
  failedCommand: mix.failedCommand,
  collections,
  allocatedBytes: after - before,
  nanosecondsPerOperation: elapsed / mix.done,
  p50: latencyPercentile(timed.histogram, 0.5),
  p99: latencyPercentile(timed.histogram, 0.99),
  p999: latencyPercentile(timed.histogram, 0.999),
} satisfies ZtThreadResult);
