// SPDX-License-Identifier: BSD-3-Clause

/**
 * Counts and latencies of operations, one block per ZT in shared memory. The ZT is the only writer; readers see each
 * number whole, but not all numbers of the same instant.
 */

import type { Addon } from '../native/addon.ts';

/** One more than the highest operation number. */
export const OPERATIONS = 33;
/** Bucket b counts latencies of [2^b, 2^(b+1)) nanoseconds. */
export const BUCKETS = 32;
/** One in so many operations is timed, on average: reading the clock costs as much as a small operation does. */
export const SAMPLE_EVERY = 16;

const COUNTERS = OPERATIONS * 4;
const HISTOGRAM_BYTES = OPERATIONS * BUCKETS * 4;
export const STATISTICS_BYTES = COUNTERS * 8 + HISTOGRAM_BYTES;

export interface OperationTotals {
  readonly count: number;
  readonly errors: number;
  /** Operations that were timed, and how long they took together, in nanoseconds. */
  readonly samples: number;
  readonly nanoseconds: number;
  readonly histogram: readonly number[];
}

export class OperationStatistics {
  readonly #addon: Addon;
  readonly #counters: Float64Array;
  readonly #histogram: Uint32Array;
  #untilSample = 1;
  #random = 0x2545f491;

  constructor(addon: Addon, buffer: SharedArrayBuffer, offset = 0) {
    this.#addon = addon;
    this.#counters = new Float64Array(buffer, offset, COUNTERS);
    this.#histogram = new Uint32Array(buffer, offset + COUNTERS * 8, OPERATIONS * BUCKETS);
  }

  /** Returns the time that `end` wants: 0 for an operation that is not timed. */
  begin(): number {
    if (--this.#untilSample !== 0) return 0;
    // Not every sixteenth: applications repeat themselves, and some operations would never be the one.
    let random = this.#random;
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    this.#random = random;
    this.#untilSample = 1 + (random & (2 * SAMPLE_EVERY - 1));
    return this.#addon.monotonic();
  }

  end(operation: number, result: number, started: number): void {
    const index = operation < OPERATIONS ? operation : 0;
    const counters = this.#counters;
    counters[index * 4] += 1;
    if (result < 0) counters[index * 4 + 1] += 1;
    if (started === 0) return;
    const nanoseconds = this.#addon.monotonic() - started;
    counters[index * 4 + 2] += 1;
    counters[index * 4 + 3] += nanoseconds;
    const bucket = 31 - Math.clz32(nanoseconds > 0xffffffff ? 0xffffffff : nanoseconds | 1);
    this.#histogram[index * BUCKETS + bucket] += 1;
  }
}

/** Totals per operation number over all blocks of `buffer`. */
export function readStatistics(buffer: SharedArrayBuffer): OperationTotals[] {
  const blocks = Math.floor(buffer.byteLength / STATISTICS_BYTES);
  return Array.from({ length: OPERATIONS }, (_, operation) => {
    let [count, errors, samples, nanoseconds] = [0, 0, 0, 0];
    const histogram = new Array<number>(BUCKETS).fill(0);
    for (let block = 0; block < blocks; block++) {
      const offset = block * STATISTICS_BYTES;
      const counters = new Float64Array(buffer, offset + operation * 32, 4);
      count += counters[0];
      errors += counters[1];
      samples += counters[2];
      nanoseconds += counters[3];
      const own = new Uint32Array(buffer, offset + COUNTERS * 8 + operation * BUCKETS * 4, BUCKETS);
      for (let bucket = 0; bucket < BUCKETS; bucket++) histogram[bucket] += own[bucket];
    }
    return { count, errors, samples, nanoseconds, histogram };
  });
}
