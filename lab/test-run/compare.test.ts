// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { compareRuns, comparisonText } from './compare.ts';
import { mergeRepeats, repeatText } from './repeat.ts';
import { htmlPage } from './report/html.ts';
import { noProvenance } from './testing/provenance.ts';
import { countOutcomes, judge, type RunReport, type TestStatus } from './verdict.ts';

function report(
  run: string,
  tests: Readonly<Record<string, readonly [TestStatus, number]>>,
  missing: readonly string[] = [],
): RunReport {
  const outcomes = Object.entries(tests).map(([name, [status, seconds]]) => ({
    name,
    status,
    seconds,
    reason: status === 'passed' ? '' : `why ${name} ${status}`,
  }));
  return {
    run,
    verdict: judge(outcomes, missing, []),
    counts: countOutcomes(outcomes),
    tests: outcomes,
    missing: [...missing],
    problems: [],
    events: [],
    fileSystem: 'zpmfs',
    seconds: 1,
    started: '2026-01-02T03:04:05.678Z',
    shards: 1,
    provenance: noProvenance,
  };
}

const before = report('before', {
  a: ['passed', 10],
  b: ['failed', 10],
  c: ['passed', 10],
  d: ['notrun', 0],
  e: ['passed', 10],
  f: ['passed', 1],
  g: ['passed', 10],
  h: ['failed', 10],
});
const after = report(
  'after',
  {
    a: ['crashed', 10],
    b: ['passed', 10],
    c: ['notrun', 0],
    d: ['passed', 10],
    e: ['passed', 16],
    f: ['passed', 4],
    h: ['hung', 10],
    i: ['failed', 1],
  },
  ['g'],
);

test('what became worse, better, or does not run any more', () => {
  const comparison = compareRuns(before, after, 1.5);
  const names = (changes: readonly { name: string }[]) => changes.map(({ name }) => name);
  // A failure of another kind is not a new one; a test without a verdict and an unknown one that fails are.
  expect(names(comparison.newFailures)).toEqual(['a', 'g', 'i']);
  expect(names(comparison.fixed)).toEqual(['b']);
  expect(names(comparison.newlyNotrun)).toEqual(['c']);
  expect(names(comparison.newlyRun)).toEqual(['d']);
  // Four seconds are too short for a factor to mean anything.
  expect(names(comparison.slower)).toEqual(['e']);
  const text = comparisonText(comparison);
  expect(text).toMatch(
    /^after against before:\nNew failures \(3\):\n {2}a +passed → crashed {2}why a crashed/,
  );
  expect(text).toMatch(/g +passed → no verdict/);
  expect(text).toMatch(/e +10\.0 s → 16\.0 s \(1\.6×\)/);
  expect(comparisonText(compareRuns(before, before, 1.5))).toBe('before against before: no difference.');
});

test('repeats: the worst verdict stands, and those that differ are listed', () => {
  const good = report('one', { a: ['passed', 1], b: ['passed', 1] });
  const bad = report('two', { a: ['failed', 1], b: ['passed', 1] });
  const merged = mergeRepeats([good, bad, good]);
  expect(merged.verdict).toBe('failed');
  expect(merged.tests.map(({ status }) => status)).toEqual(['failed', 'passed']);
  expect(merged.flaky).toEqual([{ name: 'a', statuses: ['passed', 'failed', 'passed'] }]);
  expect(merged.runs).toEqual(['one', 'two', 'one']);
  expect(repeatText(merged)).toMatch(/a +passed, failed, passed/);
  expect(repeatText(mergeRepeats([good, good]))).toMatch(/every one of 2 tests had the same verdict/);
});

test('the page holds every test, what failures left as text, and times of the baseline', () => {
  const left = new Map([['a', '<script>alert("x")</script> & more']]);
  const page = htmlPage(after, left, compareRuns(before, after, 1.5));
  for (const { name, status } of after.tests) expect(page).toContain(`<tr class="${status}"><td>${name}<td>`);
  expect(page).toContain('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; more');
  expect(page).not.toContain('alert("x")');
  expect(page).toContain('<td>16.0<td>10.0');
  expect(page).toContain('g is without a verdict');
  // Nothing is loaded from elsewhere.
  expect(page).not.toMatch(/(src|href)=/);
});
