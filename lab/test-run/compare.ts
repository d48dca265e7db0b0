// SPDX-License-Identifier: BSD-3-Clause

import type { RunReport, TestStatus } from './verdict.ts';

/** A test whose verdict is another than before; undefined where one of the runs has none. */
export interface Change {
  readonly name: string;
  readonly before: TestStatus | undefined;
  readonly after: TestStatus | undefined;
  /** Why it did not pass the second time. */
  readonly reason: string;
}

export interface Slower {
  readonly name: string;
  readonly before: number;
  readonly after: number;
}

/** What one run has that another had not. */
export interface Comparison {
  readonly before: string;
  readonly after: string;
  /** Did not fail before; does now, or has no verdict any more. */
  readonly newFailures: readonly Change[];
  readonly fixed: readonly Change[];
  readonly newlyNotrun: readonly Change[];
  /** Notrun or absent before, passed now. */
  readonly newlyRun: readonly Change[];
  readonly slower: readonly Slower[];
  /** Seconds of every test that passed in both. */
  readonly times: readonly Slower[];
}

/** Below this many seconds a test is too short for its time to mean anything. */
const shortest = 5;

/** Compare two runs; a test counts as slower from `factor` times its earlier seconds on. */
export function compareRuns(before: RunReport, after: RunReport, factor: number): Comparison {
  const old = new Map(before.tests.map((test) => [test.name, test]));
  const current = new Map(after.tests.map((test) => [test.name, test]));
  const changes: Change[] = [];
  for (const name of new Set([...old.keys(), ...current.keys(), ...after.missing])) {
    const was = old.get(name);
    const is = current.get(name);
    if (was?.status === is?.status) continue;
    // Not selected this time: no change of the test.
    if (is === undefined && !after.missing.includes(name)) continue;
    changes.push({
      name,
      before: was?.status,
      after: is?.status,
      reason: is?.reason ?? 'no verdict came back',
    });
  }
  const times = after.tests.flatMap((test) => {
    const was = old.get(test.name);
    return test.status === 'passed' && was?.status === 'passed'
      ? [{ name: test.name, before: was.seconds, after: test.seconds }]
      : [];
  });
  return {
    before: before.run,
    after: after.run,
    newFailures: changes.filter(
      ({ before, after }) => !isBad(before) && (after === undefined || isBad(after)),
    ),
    fixed: changes.filter(({ before, after }) => isBad(before) && after === 'passed'),
    newlyNotrun: changes.filter(({ before, after }) => before !== undefined && after === 'notrun'),
    newlyRun: changes.filter(({ before, after }) => !isBad(before) && after === 'passed'),
    slower: times.filter((time) => time.after >= shortest && time.after > time.before * factor),
    times,
  };
}

function isBad(status: TestStatus | undefined): boolean {
  return status === 'failed' || status === 'crashed' || status === 'hung';
}

/** The comparison for a terminal. */
export function comparisonText(comparison: Comparison): string {
  const section = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : [`${title} (${lines.length}):`, ...lines.map((line) => `  ${line}`)];
  const change = ({ name, before, after, reason }: Change) =>
    `${name.padEnd(12)} ${before ?? 'absent'} → ${after ?? 'no verdict'}${reason === '' ? '' : `  ${reason.split('\n')[0]}`}`;
  const lines = [
    ...section('New failures', comparison.newFailures.map(change)),
    ...section('Fixed', comparison.fixed.map(change)),
    ...section('Newly not run', comparison.newlyNotrun.map(change)),
    ...section('Newly run, and passed', comparison.newlyRun.map(change)),
    ...section(
      'Slower',
      comparison.slower.map(
        ({ name, before, after }) =>
          `${name.padEnd(12)} ${before.toFixed(1)} s → ${after.toFixed(1)} s (${(after / before).toFixed(1)}×)`,
      ),
    ),
  ];
  const head = `${comparison.after} against ${comparison.before}:`;
  return lines.length === 0 ? `${head} no difference.` : [head, ...lines].join('\n');
}
