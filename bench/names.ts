// SPDX-License-Identifier: BSD-3-Clause

/** Our own program for what fio cannot do (`programs/names.c`): its arguments, and what it prints. */

import { z } from 'zod';
import { LabError } from '../lab/errors.ts';
import { coarser, latenciesOf, quantile } from './latencies.ts';
import type { Measured, Timing } from './measure.ts';
import type { Workload } from './schema.ts';

type NamesWorkload = Extract<Workload, { engine: 'names' }>;

export function namesCommand(
  program: string,
  { names }: NamesWorkload,
  threads: number,
  directory: string,
  timing: Timing,
): string[] {
  return [
    program,
    ...['-o', names.operation, '-d', directory, '-t', `${threads}`, '-n', `${names.batch}`],
    ...(names.shared ? ['-s'] : []),
    ...['-w', `${Math.round(timing.warmUp * 1000)}`, '-r', `${Math.round(timing.seconds * 1000)}`],
    ...['-c', timing.cpus.join(',')],
  ];
}

const outputSchema = z.object({
  operations: z.number().positive(),
  seconds: z.number().positive(),
  meanNs: z.number(),
  bins: z.record(z.string(), z.number()),
});

export function parseNames(text: string): Measured {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const parsed = outputSchema.safeParse(value);
  if (!parsed.success) throw new LabError(`zufs-bench-names printed no result: ${text.slice(0, 200)}`);
  const { operations, seconds, meanNs, bins } = parsed.data;
  const latencies = latenciesOf(bins);
  const us = (part: number) => (quantile(latencies, part) ?? 0) / 1000;
  return {
    opsPerSec: operations / seconds,
    latencyUs: { mean: meanNs / 1000, p50: us(0.5), p99: us(0.99), p999: us(0.999) },
    latencies: coarser(latencies),
  };
}
