// SPDX-License-Identifier: BSD-3-Clause

import { z } from 'zod';

/** How a test ended. `crashed`: the guest died in it. `hung`: it exceeded its time and was ended. Both count as failures. */
export const testStatuses = ['passed', 'failed', 'notrun', 'crashed', 'hung'] as const;

export type TestStatus = (typeof testStatuses)[number];

/** Whether a test ran, and did not pass. */
export function isFailure(status: TestStatus): boolean {
  return status !== 'passed' && status !== 'notrun';
}

export const outcomeSchema = z.object({
  name: z.string(),
  status: z.enum(testStatuses),
  seconds: z.number(),
  /** Why it did not pass; '' when it did. */
  reason: z.string(),
  /** The machine that it was on, where the run says so for each. */
  node: z.string().optional(),
});

export type TestOutcome = Readonly<z.infer<typeof outcomeSchema>>;

/** What was tested with what, so that two runs can be told apart: hashes of the artefacts, '' for what a run did not need. */
export const provenanceSchema = z.object({
  kernel: z.string(),
  flavour: z.string(),
  image: z.string(),
  server: z.string(),
  xfstests: z.string(),
  accelerator: z.string(),
  cpus: z.number(),
});

export type Provenance = Readonly<z.infer<typeof provenanceSchema>>;

/** `incomplete`: the lab failed, so that what ran does not answer the question that was asked. */
export type Verdict = 'passed' | 'failed' | 'incomplete';

export type Counts = Readonly<Record<TestStatus, number>>;

export const reportSchema = z.object({
  /** Identifier of the run: name of its directory. */
  run: z.string(),
  verdict: z.enum(['passed', 'failed', 'incomplete']),
  counts: z.record(z.enum(testStatuses), z.number()),
  tests: z.array(outcomeSchema),
  /** Selected tests of which no verdict came back. */
  missing: z.array(z.string()),
  /** What went wrong with the lab itself, in sentences. */
  problems: z.array(z.string()),
  /** What happened on the way and changed no verdict: a VM that was lost and replaced, an expunge that is not needed. */
  events: z.array(z.string()),
  fileSystem: z.string(),
  /** What ran: left out for xfstests. */
  suite: z.string().optional(),
  /** Seconds from the first test's start to the end; of a resumed run, those of its last part. */
  seconds: z.number(),
  /** Time of the start, ISO 8601. */
  started: z.string(),
  /** VMs that ran tests beside each other. */
  shards: z.number(),
  /** Other machines that tests ran on; left out when all ran on this one. */
  nodes: z
    .array(
      z.object({
        node: z.string(),
        /** Tests that came to their verdict there. */
        tests: z.number(),
        /** What these took, added up. */
        seconds: z.number(),
      }),
    )
    .optional(),
  provenance: provenanceSchema,
});

export type RunReport = Readonly<z.infer<typeof reportSchema>>;

/** Name of what a run ran. */
export function suiteOf(report: RunReport): string {
  return report.suite ?? 'xfstests';
}

/** Every test of any of the runs, in order. */
export function testNames(reports: readonly RunReport[]): string[] {
  const names = reports.flatMap(({ tests, missing }) => [...tests.map(({ name }) => name), ...missing]);
  return [...new Set(names)].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

const worstVerdictFirst: readonly Verdict[] = ['incomplete', 'failed', 'passed'];

/** The verdict over several runs: that of the worst. */
export function worstVerdict(reports: readonly RunReport[]): Verdict {
  return (
    worstVerdictFirst.find((verdict) => reports.some((report) => report.verdict === verdict)) ?? 'incomplete'
  );
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

/** Seconds as an outcome has them. */
export function toMilliseconds(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
