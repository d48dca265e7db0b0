// SPDX-License-Identifier: BSD-3-Clause

/** How a test ended. `crashed`: the guest died in it. `hung`: it exceeded its time and was ended. Both count as failures. */
export type TestStatus = 'passed' | 'failed' | 'notrun' | 'crashed' | 'hung';

export interface TestOutcome {
  readonly name: string;
  readonly status: TestStatus;
  readonly seconds: number;
  /** Why it did not pass; '' when it did. */
  readonly reason: string;
}

/** `incomplete`: the lab failed, so that what ran does not answer the question that was asked. */
export type Verdict = 'passed' | 'failed' | 'incomplete';

export type Counts = Readonly<Record<TestStatus, number>>;

export interface RunReport {
  /** Identifier of the run: name of its directory. */
  readonly run: string;
  readonly verdict: Verdict;
  readonly counts: Counts;
  readonly tests: readonly TestOutcome[];
  /** Selected tests of which no verdict came back. */
  readonly missing: readonly string[];
  /** What went wrong with the lab itself, in sentences. */
  readonly problems: readonly string[];
  readonly fileSystem: string;
  /** Seconds from the first test's start to the end. */
  readonly seconds: number;
  /** Time of the start, ISO 8601. */
  readonly started: string;
}

export function countOutcomes(tests: readonly TestOutcome[]): Counts {
  const counts = { passed: 0, failed: 0, notrun: 0, crashed: 0, hung: 0 };
  for (const test of tests) counts[test.status] += 1;
  return counts;
}

/**
 * The verdict over a run, never better than what ran: a selected test without a verdict, a problem of the lab, or nothing
 * that really ran make it incomplete, whatever the rest did.
 */
export function judge(
  tests: readonly TestOutcome[],
  missing: readonly string[],
  problems: readonly string[],
): Verdict {
  const counts = countOutcomes(tests);
  const ran = tests.length - counts.notrun;
  if (missing.length > 0 || problems.length > 0 || ran === 0) return 'incomplete';
  return counts.passed === ran ? 'passed' : 'failed';
}

/** Exit code of the command for a verdict: 0 passed, 1 a test failed, 2 the lab failed. */
export function exitCodeOf(verdict: Verdict): 0 | 1 | 2 {
  return { passed: 0, failed: 1, incomplete: 2 }[verdict] as 0 | 1 | 2;
}
