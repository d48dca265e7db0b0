// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { compareBenches, comparisonText, type Verdict } from './compare.ts';
import { type BenchReport, makeReport } from './report/results.ts';
import { noFacts } from './testing/facts.ts';

/** A run with one cell for each list of rounds. */
function run(id: string, cells: Readonly<Record<string, readonly number[]>>, kernel = 'k'): BenchReport {
  const latencyUs = { mean: 1, p50: 1, p99: 1, p999: 1 };
  return makeReport({
    run: { ...noFacts, id, kernel },
    cells: Object.keys(cells).map((fs) => ({ fs, workload: 'create', threads: 1 })),
    samples: Object.entries(cells).flatMap(([fs, rounds]) =>
      rounds.map((opsPerSec, at) => ({
        fs,
        workload: 'create',
        threads: 1,
        round: at + 1,
        opsPerSec,
        latencyUs,
        latencies: [],
        served: [],
      })),
    ),
    failures: [],
    ratios: [],
    workloads: new Map(),
  });
}

test.each<[string, number[], number[], Verdict]>([
  ['every round faster, and by more than a twentieth', [100, 104, 98], [110, 112, 106], 'faster'],
  ['every round slower', [100, 104, 98], [90, 88, 95], 'slower'],
  ['a round of the one within the other', [100, 104, 98], [110, 112, 103], 'same'],
  ['apart, but by less than a twentieth', [100, 101, 100], [103, 104, 103], 'same'],
  ['too few rounds to tell', [100, 101], [200, 201, 202], 'undecided'],
])('%s', (_what, before, after, verdict) => {
  const { cells } = compareBenches(run('a', { tmpfs: before }), run('b', { tmpfs: after }));
  expect(cells.map((cell) => cell.verdict)).toEqual([verdict]);
});

test('what the runs differ in beside their figures is told, and cells of one alone', () => {
  const comparison = compareBenches(
    run('a', { tmpfs: [1, 1, 1], ext4: [1, 1, 1] }),
    run('b', { tmpfs: [2, 2, 2], xfs: [1, 1, 1] }, 'other'),
  );
  expect(comparison).toMatchObject({
    differences: ['kernel: k → other'],
    onlyBefore: ['ext4 create 1'],
    onlyAfter: ['xfs create 1'],
  });
  const text = comparisonText(comparison);
  expect(text).toMatch(/tmpfs +create +1 +1\.00 +2\.00 +\+100 % +\+/);
  expect(text).toContain(
    '1 faster (+), 0 slower (-), 0 within the noise, 0 with too few rounds to tell (?).',
  );
});
