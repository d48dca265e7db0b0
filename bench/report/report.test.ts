// SPDX-License-Identifier: BSD-3-Clause

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scratchDirectory } from '../../lab/testing/scratch.ts';
import { readMatrix } from '../declared.ts';
import type { Sample } from '../samples.ts';
import { noFacts } from '../testing/facts.ts';
import { markdownReport, terminalReport } from './markdown.ts';
import { benchReportSchema, makeReport } from './results.ts';
import { ratioTable } from './text.ts';
import { writeReports } from './write.ts';

function sample(fs: string, threads: number, round: number, opsPerSec: number): Sample {
  const mean = (1e6 / opsPerSec) * threads;
  return {
    fs,
    workload: 'randwrite-4k',
    threads,
    round,
    opsPerSec,
    latencyUs: { mean, p50: mean * 0.9, p99: mean * 2, p999: mean * 4 },
    latencies: [
      [Math.round(mean * 900), 990],
      [Math.round(mean * 2000), 10],
    ],
    served: fs.startsWith('zpmfs')
      ? [{ operation: 'WRITE', count: 1000, queuedNs: 0, switchNs: 20_000, serverNs: 10_000, backNs: 25_000 }]
      : [],
  };
}

const declared = await readMatrix('short');

/** Three rounds of three file systems, of which FUSE in two ways. */
function report(failures: Parameters<typeof makeReport>[0]['failures'] = []) {
  const rates = {
    'zpmfs-copies': [10_000, 12_000, 11_000],
    'fuse-ll': [900, 1000, 950],
    'fuse-ll-best': [2000, 1900, 2200],
  };
  const samples = Object.entries(rates).flatMap(([fs, all]) =>
    [1, 2, 4].flatMap((threads) => all.map((rate, at) => sample(fs, threads, at + 1, rate * threads))),
  );
  return makeReport({
    run: noFacts,
    cells: Object.keys(rates).flatMap((fs) =>
      [1, 2, 4].map((threads) => ({ fs, workload: 'randwrite-4k', threads })),
    ),
    samples,
    failures,
    ratios: declared.matrix.ratios,
    workloads: declared.workloads,
  });
}

test('medians and spread of the rounds, and ratios to the best of those compared with', () => {
  const { results, ratios, incomplete } = report();
  expect(results[0]).toMatchObject({
    fs: 'zpmfs-copies',
    threads: 1,
    opsPerSec: 11_000,
    rounds: [10_000, 12_000, 11_000],
  });
  expect(results[0].spread).toBeCloseTo(2 / 11);
  const fuse = ratios.filter(({ over }) => over.startsWith('fuse'));
  expect(fuse.map(({ over, threads, ratio, atLeast }) => [over, threads, ratio, atLeast])).toEqual([
    ['fuse-ll-best', 1, 5.5, 5],
    ['fuse-ll-best', 2, 5.5, 8],
    ['fuse-ll-best', 4, 5.5, 8],
  ]);
  // More threads than CPUs, over as many.
  expect(ratios.filter(({ over }) => !over.startsWith('fuse'))).toMatchObject([
    { threads: 4, ratio: 2, atLeast: 0.95 },
  ]);
  expect(incomplete).toBe(false);
});

test("an operation's time by where it goes: what the server and the switch do not take is outside", () => {
  const [split] = report().split;
  expect(split).toMatchObject({
    fs: 'zpmfs-copies',
    threads: 1,
    channel: 0,
    switch: 20,
    server: 10,
    back: 25,
  });
  expect(split.outside).toBeCloseTo(1e6 / 11_000 - 55, 5);
});

test('an operation that the server was rarely asked for is not split', () => {
  const rare = [{ operation: 'WRITE', count: 3, queuedNs: 0, switchNs: 1, serverNs: 1, backNs: 1 }];
  const { split } = makeReport({
    run: noFacts,
    cells: [{ fs: 'zpmfs', workload: 'randwrite-4k', threads: 1 }],
    samples: [{ ...sample('zpmfs', 1, 1, 50_000), served: rare }],
    failures: [],
    ratios: [],
    workloads: declared.workloads,
  });
  expect(split).toEqual([]);
});

test('the text says which ratios were missed, and what was not measured', () => {
  const failed = { fs: 'tmpfs', workload: 'create', threads: 1, round: 2, error: 'it said:\n  | no room\n' };
  const markdown = markdownReport(report([failed]), declared);
  expect(markdown).toMatch(
    /\| 4 KiB random write, server copies.* \| 1 \| fuse-ll-best \| 5\.50 \| 5\.00 to 6\.32 \| 5\.50 \| 5 \| met \|/,
  );
  expect(markdown).toMatch(/\| 2 \| fuse-ll-best \| 5\.50 \| 5\.00 to 6\.32 \| 5\.50 \| 8 \| missed \|/);
  expect(markdown).toContain('**tmpfs, create, 1 thread, round 2 was not measured: it said: no room**');
  expect(markdown).toContain('| zpmfs-copies | 1 | 11,000 | 18 % | 90.9 |');
  expect(terminalReport(report(), '/somewhere')).toContain('Details: /somewhere');
});

test('a ratio that not all rounds agree on has a question mark', () => {
  const [, ratio] = report().ratios;
  const row = (atLeast: number) => ratioTable([{ ...ratio, atLeast }])[1].at(-1);
  expect([4, 5.2, 6, 7].map(row)).toEqual(['met', 'met?', 'missed?', 'missed']);
});

test('the files of a run: JSON that reads back, plots that stand alone, and a page that needs nothing else', async () => {
  const directory = await scratchDirectory();
  await writeReports(directory, report(), declared);
  const read = (name: string) => readFile(join(directory, name), 'utf8');
  expect(benchReportSchema.parse(JSON.parse(await read('bench.json')))).toEqual(report());
  expect((await readdir(directory)).sort()).toEqual([
    'bench.json',
    'distribution-randwrite-4k.svg',
    'index.html',
    'latency-randwrite-4k.svg',
    'split.svg',
    'summary.md',
    'throughput-randwrite-4k.svg',
  ]);
  const plot = await read('throughput-randwrite-4k.svg');
  expect(plot).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  // A line for each file system, and its name beside it.
  for (const name of ['zpmfs-copies', 'fuse-ll', 'fuse-ll-best']) expect(plot).toContain(`>${name}</text>`);
  expect(plot.match(/mark-line/g)?.length).toBeGreaterThan(0);
  const page = await read('index.html');
  expect(page.match(/<svg /g)).toHaveLength(4);
  expect(page).not.toMatch(/(src|href)="(?!#)/);
  expect(page).toContain('<tr class="missed">');
});
