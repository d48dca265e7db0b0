// SPDX-License-Identifier: BSD-3-Clause

/** A run as `bench.json` has it: what it was made with, and of each cell the medians over its rounds. */

import { z } from 'zod';
import { merged } from '../latencies.ts';
import { cellKey } from '../plan.ts';
import {
  type Failure,
  failureSchema,
  latencySchema,
  meanServed,
  median,
  medianLatency,
  type Sample,
  servedSchema,
} from '../samples.ts';
import type { Ratio, Workload } from '../schema.ts';

/** What was measured with what. Hashes of the artefacts, as `zufs-lab status` shows them. */
export const runSchema = z.object({
  id: z.string(),
  started: z.string(),
  /** Seconds of measuring; of a resumed run, all of its parts. */
  seconds: z.number(),
  matrix: z.string(),
  rounds: z.number(),
  warmUpSeconds: z.number(),
  sampleSeconds: z.number(),
  kernel: z.string(),
  flavour: z.string(),
  image: z.string(),
  server: z.string(),
  /** The machine, where it was not this one. */
  node: z.string().optional(),
  /** The host's. */
  cpu: z.string(),
  hostCpus: z.number(),
  accelerator: z.string(),
  qemu: z.string(),
  guestKernel: z.string(),
  /** Clock of the guest, which all times are taken from. */
  clock: z.string(),
  /** Of each VM that it ran in, by its settings. */
  machines: z.array(z.record(z.string(), z.union([z.string(), z.number()]))),
  /** vCPUs bound to a CPU of the host each; else why not. */
  pinned: z.string(),
  /** Of each file system that was measured: how it was mounted and served. */
  options: z.record(z.string(), z.string()),
});

export type RunFacts = z.infer<typeof runSchema>;

export const resultSchema = z.object({
  fs: z.string(),
  workload: z.string(),
  threads: z.number(),
  opsPerSec: z.number(),
  latencyUs: latencySchema,
  /** Operations a second in each round. */
  rounds: z.array(z.number()),
  /** (largest - smallest) / median of the rounds. */
  spread: z.number(),
  /** Of all rounds together: pairs of nanoseconds and counts. */
  latencies: z.array(z.tuple([z.number(), z.number()])),
  served: z.array(servedSchema),
});

export type Result = Readonly<z.infer<typeof resultSchema>>;

export const ratioResultSchema = z.object({
  about: z.string(),
  threads: z.number(),
  of: z.string(),
  /** The best of those that it is compared with. */
  over: z.string(),
  ratio: z.number(),
  /** The same, round by round. */
  rounds: z.array(z.number()),
  /** The same of the latencies that half of the calls did not exceed: what else the host does shows less in it. */
  byP50: z.number(),
  atLeast: z.number().optional(),
});

export type RatioResult = Readonly<z.infer<typeof ratioResultSchema>>;

/** Microseconds of one operation, by where they go. */
export const splitSchema = z.object({
  fs: z.string(),
  workload: z.string(),
  threads: z.number(),
  /** All that is not in the parts: into the kernel and out of it, and the measuring program itself. */
  outside: z.number(),
  channel: z.number(),
  switch: z.number(),
  server: z.number(),
  back: z.number(),
});

export type Split = Readonly<z.infer<typeof splitSchema>>;

export const benchReportSchema = z.object({
  run: runSchema,
  results: z.array(resultSchema),
  ratios: z.array(ratioResultSchema),
  split: z.array(splitSchema),
  /** Measurements that came to nothing. */
  failures: z.array(failureSchema),
  /** Cells that were not measured in every round: the run was ended before. */
  incomplete: z.boolean(),
});

export type BenchReport = z.infer<typeof benchReportSchema>;

export interface ReportInput {
  readonly run: RunFacts;
  /** In the order of the matrix. */
  readonly cells: readonly { readonly fs: string; readonly workload: string; readonly threads: number }[];
  readonly samples: readonly Sample[];
  readonly failures: readonly Failure[];
  readonly ratios: readonly Ratio[];
  readonly workloads: ReadonlyMap<string, Workload>;
}

export function makeReport(input: ReportInput): BenchReport {
  const { run, cells, samples, failures, ratios, workloads } = input;
  const results = cells.flatMap((cell) => resultOf(samples.filter((one) => cellKey(one) === cellKey(cell))));
  return {
    run,
    results,
    ratios: ratios.flatMap((ratio) => ratioResults(ratio, results)),
    split: results.flatMap((result) => splitOf(result, workloads.get(result.workload)?.served)),
    failures: [...failures],
    incomplete: samples.length + failures.length < cells.length * run.rounds,
  };
}

function resultOf(samples: readonly Sample[]): Result[] {
  if (samples.length === 0) return [];
  const [{ fs, workload, threads }] = samples;
  const rounds = samples.toSorted((a, b) => a.round - b.round).map(({ opsPerSec }) => opsPerSec);
  const opsPerSec = median(rounds);
  const operations = new Set(samples.flatMap(({ served }) => served.map(({ operation }) => operation)));
  return [
    {
      fs,
      workload,
      threads,
      opsPerSec,
      latencyUs: medianLatency(samples.map(({ latencyUs }) => latencyUs)),
      rounds,
      spread: (Math.max(...rounds) - Math.min(...rounds)) / opsPerSec,
      latencies: merged(samples.map(({ latencies }) => latencies)).map(([ns, count]) => [ns, count]),
      served: [...operations].flatMap(
        (name) =>
          meanServed(samples.flatMap(({ served }) => served.filter(({ operation }) => operation === name))) ??
          [],
      ),
    },
  ];
}

/** A ratio at each number of threads that both sides were measured at. */
function ratioResults(ratio: Ratio, results: readonly Result[]): RatioResult[] {
  const { of, workload, over, overWorkload = workload, overThreads = 0, atLeast } = ratio;
  return results
    .filter((one) => one.fs === of && one.workload === workload && one.threads > overThreads)
    .flatMap((result) => {
      const { threads } = result;
      const others = results
        .filter((one) => over.includes(one.fs) && one.workload === overWorkload)
        .filter((one) => one.threads === (overThreads || threads));
      const [best] = others.toSorted((a, b) => b.opsPerSec - a.opsPerSec);
      if (best === undefined) return [];
      // Operations that each thread would do, times threads.
      const byP50 = ({ threads, latencyUs }: Result) => threads / latencyUs.p50;
      const least = threads === 1 ? atLeast.one : atLeast.more;
      return [
        {
          about: ratio.about,
          threads,
          of,
          over: best.fs,
          ratio: result.opsPerSec / best.opsPerSec,
          rounds: result.rounds
            .slice(0, best.rounds.length)
            .map((opsPerSec, at) => opsPerSec / best.rounds[at]),
          byP50: byP50(result) / Math.max(...others.map(byP50)),
          ...(least === undefined ? {} : { atLeast: least }),
        },
      ];
    });
}

/** Where one operation's time goes, for a workload each of whose operations is one of the server's. */
function splitOf(result: Result, operation: string | undefined): Split[] {
  const served = result.served.find((one) => one.operation === operation);
  // Where the kernel knows the blocks the server is asked now and then, which says nothing of the others.
  const operations = result.latencies.reduce((sum, [, count]) => sum + count, 0);
  if (served === undefined || served.count < operations / 2) return [];
  const us = (ns: number) => ns / 1000;
  const parts = {
    channel: us(served.queuedNs),
    switch: us(served.switchNs),
    server: us(served.serverNs),
    back: us(served.backNs),
  };
  const inside = parts.channel + parts.switch + parts.server + parts.back;
  const { fs, workload, threads, latencyUs } = result;
  return [{ fs, workload, threads, outside: Math.max(0, latencyUs.mean - inside), ...parts }];
}
