// SPDX-License-Identifier: BSD-3-Clause

import { countOutcomes, type RunReport, type TestOutcome, type TestStatus, worstVerdict } from './verdict.ts';

/** A test whose verdicts differ from run to run. */
export interface Flaky {
  readonly name: string;
  /** One a run, in order; undefined where it has none. */
  readonly statuses: readonly (TestStatus | undefined)[];
}

/** Several runs of the same tests as one: every test with its worst verdict. */
export interface RepeatedReport extends RunReport {
  readonly runs: readonly string[];
  readonly flaky: readonly Flaky[];
}

const worstFirst: readonly TestStatus[] = ['crashed', 'hung', 'failed', 'passed', 'notrun'];

/** Put the reports of repeated runs together. A pass in one never makes up for a failure in another. */
export function mergeRepeats(reports: readonly [RunReport, ...RunReport[]]): RepeatedReport {
  const last = reports[reports.length - 1];
  const names = [...new Set(reports.flatMap(({ tests }) => tests.map(({ name }) => name)))];
  const outcomes = names.map((name) => reports.map(({ tests }) => tests.find((test) => test.name === name)));
  const tests = outcomes.map((each) => worst(each.filter((outcome) => outcome !== undefined)));
  return {
    ...last,
    verdict: worstVerdict(reports),
    counts: countOutcomes(tests),
    tests,
    missing: [...new Set(reports.flatMap(({ missing }) => missing))],
    problems: reports.flatMap(({ problems }) => problems),
    events: reports.flatMap(({ events }) => events),
    seconds: Math.round(reports.reduce((sum, { seconds }) => sum + seconds, 0) * 10) / 10,
    started: reports[0].started,
    runs: reports.map(({ run }) => run),
    flaky: names.flatMap((name, at) => {
      const statuses = outcomes[at].map((outcome) => outcome?.status);
      return new Set(statuses).size === 1 ? [] : [{ name, statuses }];
    }),
  };
}

function worst(outcomes: readonly TestOutcome[]): TestOutcome {
  return outcomes.reduce((bad, outcome) =>
    worstFirst.indexOf(outcome.status) < worstFirst.indexOf(bad.status) ? outcome : bad,
  );
}

/** What repeating told, for a terminal. */
export function repeatText({ runs, flaky, tests }: RepeatedReport): string {
  if (flaky.length === 0)
    return `${runs.length} runs: every one of ${tests.length} tests had the same verdict each time.`;
  const lines = flaky.map(
    ({ name, statuses }) =>
      `  ${name.padEnd(12)} ${statuses.map((status) => status ?? 'no verdict').join(', ')}`,
  );
  return [`${runs.length} runs; verdicts that differed (${flaky.length}):`, ...lines].join('\n');
}
