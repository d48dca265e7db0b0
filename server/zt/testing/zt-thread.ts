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
  /** Mount options. */
  readonly options?: string;
  readonly operations: number;
  /** Allocate an object at each operation, to see that the measurement finds it. */
  readonly wasteful: boolean;
}

export interface ZtThreadResult {
  readonly operations: number;
  /** Before them, to warm up. */
  readonly warmUpOperations: number;
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

/** Operations between two looks at what the warm-up allocates. */
const STRETCH = 200_000;
/** What a stretch may allocate when all is optimised: the look itself does. */
const QUIET_BYTES = 16 << 10;
/** Quiet stretches in a row: after one, code of the compilers before the last may still be replaced, and the last one's be thrown away. */
const QUIET_STRETCHES = 5;
/** Counted in operations, since the machine may stand still for a minute. */
const WARM_UP_STRETCHES = 300;

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
const fs = kernel.mount({ options: data.options ?? '' });

/** Times each operation as the server sees it: from the return of one wait to the next. */
class TimedDispatcher {
  readonly histogram = new Uint32Array(64 * 16);
  dispatch = (): void => {
    const started = addon.monotonic();
    kernel.zt.dispatcher.dispatch();
    countLatency(this.histogram, addon.monotonic() - started);
  };
}

/** One that the measurement has to find. It wastes only what is measured, since the warm-up would never end with it. */
class WastefulDispatcher {
  readonly waste: object[] = [];
  dispatch = (): void => {
    timed.dispatch();
    if (mix.measuring) this.waste[0] = { operation: mix.done };
  };
}

const newSpace = () =>
  getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_used_size ?? 0;

/**
 * Warms up until the mix allocates next to nothing any more, and measures what comes then. Code that is not optimised yet
 * allocates, and how many operations the optimising compiler takes depends on how soon it gets a CPU. Both happen in
 * one run of the loop, as in the server: a loop that is entered again begins with the code of its entry, and waits for the
 * compiler once more to be replaced on the stack.
 */
class MeasuredMix extends CommandMix {
  measuring = false;
  measuredFrom = 0;
  started = 0;
  newSpaceBefore = newSpace();
  readonly profiler = new GCProfiler();
  #left = STRETCH;
  #stretches = 0;
  #quietStretches = 0;

  override wait(): number {
    if (--this.#left === 0) this.#lookBack();
    return super.wait();
  }

  #lookBack(): void {
    this.#left = STRETCH;
    if (this.measuring) return;
    const allocated = newSpace() - this.newSpaceBefore;
    // Less than nothing: V8 collected.
    this.#quietStretches = Math.abs(allocated) <= QUIET_BYTES ? this.#quietStretches + 1 : 0;
    const warm = this.#quietStretches === QUIET_STRETCHES;
    if (++this.#stretches === WARM_UP_STRETCHES && !warm) {
      throw new Error(`${STRETCH} operations allocate ${allocated} bytes after ${this.done} of them`);
    }
    // As the threads of the server do when they are warm.
    collectGarbage();
    timed.histogram.fill(0);
    if (warm) this.profiler.start();
    this.measuring = warm;
    this.measuredFrom = this.done;
    this.limit = this.done + data.operations;
    this.newSpaceBefore = newSpace();
    this.started = addon.monotonic();
  }
}

const timed = new TimedDispatcher();
const mix = new MeasuredMix(kernel, fs, -1);
const result = runZt(mix, data.wasteful ? new WastefulDispatcher() : timed);
const elapsed = addon.monotonic() - mix.started;
const allocatedBytes = newSpace() - mix.newSpaceBefore;
if (result !== 0) throw new Error(`the loop ended with ${result}`);
const collections = mix.profiler.stop()?.statistics.map(({ gcType }) => gcType) ?? [];
parentPort?.postMessage({
  operations: mix.done - mix.measuredFrom,
  warmUpOperations: mix.measuredFrom,
  errors: mix.errors,
  failedCommand: mix.failedCommand,
  collections,
  allocatedBytes,
  nanosecondsPerOperation: elapsed / data.operations,
  p50: latencyPercentile(timed.histogram, 0.5),
  p99: latencyPercentile(timed.histogram, 0.99),
  p999: latencyPercentile(timed.histogram, 0.999),
} satisfies ZtThreadResult);
