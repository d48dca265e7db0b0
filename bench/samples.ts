// SPDX-License-Identifier: BSD-3-Clause

/** What one measurement gave, and what several of them say together. */

import { z } from 'zod';

export const latencySchema = z.object({
  mean: z.number(),
  p50: z.number(),
  p99: z.number(),
  p999: z.number(),
});

/** Microseconds. */
export type LatencyUs = Readonly<z.infer<typeof latencySchema>>;

/** One operation of the server: how many were served, and nanoseconds that each took on an average, by part of the way. */
export const servedSchema = z.object({
  operation: z.string(),
  count: z.number(),
  queuedNs: z.number(),
  switchNs: z.number(),
  serverNs: z.number(),
  backNs: z.number(),
});

export type Served = Readonly<z.infer<typeof servedSchema>>;

export const sampleSchema = z.object({
  fs: z.string(),
  workload: z.string(),
  threads: z.number(),
  round: z.number(),
  opsPerSec: z.number(),
  latencyUs: latencySchema,
  /** Pairs of nanoseconds and counts. */
  latencies: z.array(z.tuple([z.number(), z.number()])),
  /** What zuf counted meanwhile, warm-up included; empty where no server of ours was asked. */
  served: z.array(servedSchema),
});

export type Sample = Readonly<z.infer<typeof sampleSchema>>;

/** A measurement that came to nothing. */
export const failureSchema = z.object({
  fs: z.string(),
  workload: z.string(),
  threads: z.number(),
  round: z.number(),
  error: z.string(),
});

export type Failure = Readonly<z.infer<typeof failureSchema>>;

/** An error with what a program said, as one line. */
export function oneLine(error: string): string {
  return error.replaceAll(/\s*\n[\s|]*/g, ' ').trim();
}

/** The middle one; between the two in the middle of an even number. Undefined of none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('the median of nothing');
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Median of each field over the rounds. */
export function medianLatency(all: readonly LatencyUs[]): LatencyUs {
  const of = (field: keyof LatencyUs) => median(all.map((one) => one[field]));
  return { mean: of('mean'), p50: of('p50'), p99: of('p99'), p999: of('p999') };
}

/** Averages of one operation of the server over several measurements, each by how many it served. */
export function meanServed(all: readonly Served[]): Served | undefined {
  const count = all.reduce((sum, one) => sum + one.count, 0);
  if (count === 0) return undefined;
  const of = (field: 'queuedNs' | 'switchNs' | 'serverNs' | 'backNs') =>
    all.reduce((sum, one) => sum + one[field] * one.count, 0) / count;
  return {
    operation: all[0].operation,
    count,
    queuedNs: of('queuedNs'),
    switchNs: of('switchNs'),
    serverNs: of('serverNs'),
    backNs: of('backNs'),
  };
}
