// SPDX-License-Identifier: BSD-3-Clause

import { cellKey } from './plan.ts';
import type { BenchReport, Result } from './report/results.ts';
import { percent, plainTable, rate } from './report/text.ts';

/**
 * When a cell counts as changed: both runs have at least three rounds of it, the medians are at least `leastChange` apart, and no
 * round of the one is within the rounds of the other. Three rounds each of the same thing keep apart by chance in one
 * case of ten, five in one of 126; the second condition leaves out what is real, but small.
 */
export const leastChange = 0.05;
const leastRounds = 3;

export type Verdict = 'faster' | 'slower' | 'same' | 'undecided';

export interface CellComparison {
  readonly fs: string;
  readonly workload: string;
  readonly threads: number;
  readonly before: number;
  readonly after: number;
  /** after / before */
  readonly ratio: number;
  /** `undecided`: too few rounds to tell. */
  readonly verdict: Verdict;
}

export interface BenchComparison {
  readonly before: string;
  readonly after: string;
  /** What the runs differ in, besides their figures. */
  readonly differences: readonly string[];
  readonly cells: readonly CellComparison[];
  /** Cells that only one of the runs has. */
  readonly onlyBefore: readonly string[];
  readonly onlyAfter: readonly string[];
}

export function compareBenches(before: BenchReport, after: BenchReport): BenchComparison {
  const old = new Map(before.results.map((result) => [cellKey(result), result]));
  const current = new Map(after.results.map((result) => [cellKey(result), result]));
  return {
    before: before.run.id,
    after: after.run.id,
    differences: differencesOf(before, after),
    cells: after.results.flatMap((result) => {
      const was = old.get(cellKey(result));
      return was === undefined ? [] : [compareCells(was, result)];
    }),
    onlyBefore: [...old.keys()].filter((key) => !current.has(key)),
    onlyAfter: [...current.keys()].filter((key) => !old.has(key)),
  };
}

function compareCells(was: Result, is: Result): CellComparison {
  const { fs, workload, threads } = is;
  return {
    fs,
    workload,
    threads,
    before: was.opsPerSec,
    after: is.opsPerSec,
    ratio: is.opsPerSec / was.opsPerSec,
    verdict: verdictOf(was, is),
  };
}

function verdictOf(was: Result, is: Result): Verdict {
  if (Math.min(was.rounds.length, is.rounds.length) < leastRounds) return 'undecided';
  const ratio = is.opsPerSec / was.opsPerSec;
  if (Math.abs(ratio - 1) < leastChange) return 'same';
  if (Math.min(...is.rounds) > Math.max(...was.rounds)) return 'faster';
  if (Math.max(...is.rounds) < Math.min(...was.rounds)) return 'slower';
  return 'same';
}

/** Facts that make a difference of figures mean something else. */
function differencesOf(before: BenchReport, after: BenchReport): string[] {
  const facts = [
    'kernel',
    'image',
    'server',
    'cpu',
    'accelerator',
    'qemu',
    'pinned',
    'warmUpSeconds',
    'sampleSeconds',
  ] as const;
  const plain = facts
    .filter((fact) => before.run[fact] !== after.run[fact])
    .map((fact) => `${fact}: ${before.run[fact]} → ${after.run[fact]}`);
  const machines = [before, after].map(({ run }) => JSON.stringify(run.machines));
  return machines[0] === machines[1] ? plain : [...plain, `machines: ${machines[0]} → ${machines[1]}`];
}

export function comparisonText(comparison: BenchComparison): string {
  const { before, after, differences, cells, onlyBefore, onlyAfter } = comparison;
  const marks: Readonly<Record<Verdict, string>> = { faster: '+', slower: '-', same: '', undecided: '?' };
  const counted = (verdict: Verdict) => cells.filter((cell) => cell.verdict === verdict).length;
  return [
    `${after} against ${before}:`,
    ...differences.map((difference) => `  ${difference}`),
    plainTable([
      ['', 'workload', 'threads', 'before', 'after', 'change', ''],
      ...cells.map(({ fs, workload, threads, before, after, ratio, verdict }) => [
        fs,
        workload,
        `${threads}`,
        rate(before),
        rate(after),
        `${ratio >= 1 ? '+' : '-'}${percent(Math.abs(ratio - 1))}`,
        marks[verdict],
      ]),
    ]),
    ...(onlyBefore.length === 0 ? [] : [`Only before: ${onlyBefore.join(', ')}.`]),
    ...(onlyAfter.length === 0 ? [] : [`Only after: ${onlyAfter.join(', ')}.`]),
    `${counted('faster')} faster (+), ${counted('slower')} slower (-), ${counted('same')} within the noise, ${counted('undecided')} with too few rounds to tell (?).`,
  ].join('\n');
}
