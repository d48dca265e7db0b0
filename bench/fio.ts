// SPDX-License-Identifier: BSD-3-Clause

/** fio(1): its arguments for a workload, and what its report says. */

import { z } from 'zod';
import { LabError } from '../lab/errors.ts';
import { parseSize } from '../lab/vm/topology.ts';
import { coarser, latenciesOf } from './latencies.ts';
import type { Measured, Timing } from './measure.ts';
import type { BenchFileSystem, Workload } from './schema.ts';

type FioWorkload = Extract<Workload, { engine: 'fio' }>;

const kibibyte = 1024;

/** Bytes of the file that each thread has. Whole blocks, at least one. */
function fileBytes({ fio }: FioWorkload, threads: number): number {
  const block = parseSize(fio.block.replace('k', 'K'));
  const share = parseSize(fio.size.replace('k', 'K')) / threads;
  return Math.max(block, Math.floor(share / block) * block);
}

/** What is laid out for a workload: those that have the same need not do it again. */
export function layoutOf(workload: FioWorkload, threads: number): string {
  return `${threads} x ${fileBytes(workload, threads)}`;
}

function filesOf(directory: string, bytes: number, threads: number, { direct }: BenchFileSystem): string[] {
  return [
    `--directory=${directory}`,
    // fio's own variable.
    '--filename_format=data.$jobnum',
    `--size=${bytes}`,
    `--numjobs=${threads}`,
    '--thread',
    '--group_reporting',
    `--direct=${direct ? 1 : 0}`,
    '--fallocate=none',
    '--invalidate=0',
  ];
}

/** Write the files of a workload once, and read them once: what follows is done over and over in any use. */
export function layoutCommand(
  workload: FioWorkload,
  threads: number,
  directory: string,
  fileSystem: BenchFileSystem,
): string[] {
  const bytes = fileBytes(workload, threads);
  const block = `--bs=${Math.min(1024 * kibibyte, bytes)}`;
  const files = filesOf(directory, bytes, threads, fileSystem);
  return [
    'fio',
    '--output-format=terse',
    ...['--name=write', ...files, '--ioengine=psync', '--rw=write', block, '--end_fsync=1'],
    ...['--name=read', '--stonewall', ...files, '--ioengine=psync', '--rw=read', block],
  ];
}

export function fioCommand(
  workload: FioWorkload,
  threads: number,
  directory: string,
  fileSystem: BenchFileSystem,
  timing: Timing,
): string[] {
  const { fio } = workload;
  // A mapping has no use for direct I/O, and shares no pages with it.
  const files = filesOf(directory, fileBytes(workload, threads), threads, {
    ...fileSystem,
    direct: fileSystem.direct && fio.io !== 'mmap',
  });
  return [
    'fio',
    '--output-format=json+',
    '--name=bench',
    ...files,
    `--ioengine=${fio.io}`,
    `--rw=${fio.pattern}`,
    `--bs=${fio.block}`,
    '--norandommap',
    '--time_based',
    `--ramp_time=${milliseconds(timing.warmUp)}`,
    `--runtime=${milliseconds(timing.seconds)}`,
    `--cpus_allowed=${timing.cpus.join(',')}`,
    '--cpus_allowed_policy=split',
    // The whole of a call, not only from where fio submits it.
    '--lat_percentiles=1',
    '--clat_percentiles=0',
    '--percentile_list=50:99:99.9',
  ];
}

function milliseconds(seconds: number): string {
  return `${Math.round(seconds * 1000)}ms`;
}

const directionSchema = z.object({
  iops: z.number(),
  total_ios: z.number(),
  lat_ns: z.object({
    mean: z.number(),
    percentile: z.record(z.string(), z.number()).optional(),
    bins: z.record(z.string(), z.number()).optional(),
  }),
});

const reportSchema = z.object({
  jobs: z.array(z.object({ error: z.number(), read: directionSchema, write: directionSchema })).min(1),
});

/** What fio measured. `LabError` when it is no report, or one of nothing. */
export function parseFio(text: string): Measured {
  const parsed = reportSchema.safeParse(jsonIn(text));
  if (!parsed.success) throw new LabError(`fio's report is not what was asked for: ${text.slice(0, 200)}`);
  const [job] = parsed.data.jobs;
  if (job.error !== 0) throw new LabError(`fio ended with error ${job.error}.`);
  const direction = job.write.total_ios > 0 ? job.write : job.read;
  const { mean, percentile = {}, bins = {} } = direction.lat_ns;
  if (direction.total_ios === 0) throw new LabError('fio did not do a single operation in its time.');
  const us = (key: string) => (percentile[key] ?? 0) / 1000;
  return {
    opsPerSec: direction.iops,
    latencyUs: { mean: mean / 1000, p50: us('50.000000'), p99: us('99.000000'), p999: us('99.900000') },
    latencies: coarser(latenciesOf(bins)),
  };
}

/** fio puts remarks before its report. */
function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text.slice(text.indexOf('{')));
  } catch {
    return undefined;
  }
}
