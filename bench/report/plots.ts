// SPDX-License-Identifier: BSD-3-Clause

/**
 * Plots as SVG. vega-lite takes a description in place of drawing code, and vega renders it to SVG without a browser; both
 * are loaded here alone, when a report is written.
 */

import type { TopLevelSpec } from 'vega-lite';
import { threadsText } from '../plan.ts';
import type { BenchReport, Result, Split } from './results.ts';
import { workloadsOf } from './text.ts';

export interface Plot {
  /** Name of its file, without the ending. */
  readonly name: string;
  readonly title: string;
  readonly svg: string;
}

const size = { width: 420, height: 260 };

/** Throughput and latency by threads and latencies' distribution of each workload, and where the time goes. */
export async function plotsOf(report: BenchReport): Promise<Plot[]> {
  const plots: Plot[] = [];
  for (const workload of workloadsOf(report)) {
    const results = report.results.filter((result) => result.workload === workload);
    plots.push(
      await plot(`throughput-${workload}`, `${workload}: throughput`, throughput(results)),
      await plot(`latency-${workload}`, `${workload}: latency`, latency(results)),
      await plot(`distribution-${workload}`, `${workload}: distribution of latencies`, distribution(results)),
    );
  }
  if (report.split.length > 0) {
    plots.push(await plot('split', 'Where one operation goes', stacked(report.split)));
  }
  return plots;
}

async function plot(name: string, title: string, spec: TopLevelSpec): Promise<Plot> {
  const [{ compile }, { parse, View }] = await Promise.all([import('vega-lite'), import('vega')]);
  const view = new View(parse(compile({ ...spec, title, background: 'white' }).spec), { renderer: 'none' });
  try {
    return { name, title, svg: await view.toSVG() };
  } finally {
    view.finalize();
  }
}

const byFileSystem = {
  field: 'fs',
  type: 'nominal',
  title: 'file system',
  sort: null,
  scale: { scheme: 'tableau20' },
} as const;
const byThreads = { field: 'threads', type: 'ordinal', title: 'threads', axis: { labelAngle: 0 } } as const;

/** Each file system's line, with the range of its rounds. */
function throughput(results: readonly Result[]): TopLevelSpec {
  const values = results.map(({ fs, threads, opsPerSec, rounds }) => ({
    fs,
    threads,
    opsPerSec,
    least: Math.min(...rounds),
    most: Math.max(...rounds),
  }));
  const y = { type: 'quantitative', title: 'operations a second', scale: { type: 'log' } } as const;
  return {
    data: { values },
    ...size,
    encoding: { x: byThreads, color: byFileSystem },
    layer: [
      { mark: { type: 'line', point: true }, encoding: { y: { field: 'opsPerSec', ...y } } },
      { mark: 'rule', encoding: { y: { field: 'least', ...y }, y2: { field: 'most' } } },
    ],
  };
}

function latency(results: readonly Result[]): TopLevelSpec {
  const values = results.flatMap(({ fs, threads, latencyUs }) =>
    (['p50', 'p99'] as const).map((which) => ({ fs, threads, which, us: latencyUs[which] })),
  );
  return {
    data: { values },
    ...size,
    mark: { type: 'line', point: true },
    encoding: {
      x: byThreads,
      y: { field: 'us', type: 'quantitative', title: 'microseconds', scale: { type: 'log' } },
      color: byFileSystem,
      strokeDash: { field: 'which', type: 'nominal', title: '' },
    },
  };
}

/** What part of the operations took at most so long, at the most threads that all were measured at. */
function distribution(results: readonly Result[]): TopLevelSpec {
  const threads = Math.min(
    ...Map.groupBy(results, ({ fs }) => fs)
      .values()
      .map(mostThreads),
  );
  const values = results
    .filter((result) => result.threads === threads)
    .flatMap(({ fs, latencies }) => {
      const total = latencies.reduce((sum, [, count]) => sum + count, 0);
      let passed = 0;
      return latencies.map(([ns, count]) => {
        passed += count;
        return { fs, us: ns / 1000, part: passed / total };
      });
    });
  return {
    data: { values },
    ...size,
    mark: { type: 'line', interpolate: 'step-after' },
    encoding: {
      x: {
        field: 'us',
        type: 'quantitative',
        title: `microseconds, ${threadsText(threads)}`,
        scale: { type: 'log' },
      },
      y: { field: 'part', type: 'quantitative', title: 'part of the operations', axis: { format: '%' } },
      color: byFileSystem,
    },
  };
}

function mostThreads(results: readonly Result[]): number {
  return Math.max(...results.map(({ threads }) => threads));
}

const parts = ['outside', 'channel', 'switch', 'server', 'back'] as const;

function stacked(split: readonly Split[]): TopLevelSpec {
  const values = split.flatMap((one) =>
    parts.map((part, order) => ({
      bar: `${one.fs}, ${one.workload}, ${one.threads}`,
      part,
      order,
      us: one[part],
    })),
  );
  return {
    data: { values },
    width: size.width,
    height: { step: 18 },
    mark: 'bar',
    encoding: {
      y: { field: 'bar', type: 'nominal', title: '', sort: null, axis: { labelLimit: 400 } },
      x: { field: 'us', type: 'quantitative', title: 'microseconds of one operation' },
      color: { field: 'part', type: 'nominal', title: '', sort: [...parts] },
      order: { field: 'order' },
    },
  };
}
