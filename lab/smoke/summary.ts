// SPDX-License-Identifier: BSD-3-Clause

import type { SmokeReport, SmokeStep } from './run.ts';

/** One line as a step ends, and what went wrong below it. */
export function describeStep({ step, ok, ms, error }: SmokeStep): string {
  const line = `${ok ? 'pass' : 'FAIL'}  ${step} (${ms} ms)`;
  return error === undefined ? line : `${line}\n      ${error.replaceAll('\n', '\n      ')}`;
}

/** The verdict in one sentence. */
export function smokeSummary({ steps, filesystem, mount, passed }: SmokeReport): string {
  const good = steps.filter(({ ok }) => ok).length;
  const verdict = passed ? 'passed' : 'FAILED';
  const rest = passed ? '' : '; the later ones were not run';
  return `Smoke run on ${filesystem} at ${mount}: ${verdict}, ${good} of ${steps.length} steps passed${rest}.`;
}
