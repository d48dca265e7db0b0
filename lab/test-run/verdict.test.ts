// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { exitCodeOf, judge, type TestOutcome, type TestStatus } from './verdict.ts';

function outcomes(...statuses: TestStatus[]): TestOutcome[] {
  return statuses.map((status, index) => ({
    name: `generic/${index + 100}`,
    status,
    seconds: 1,
    reason: '',
  }));
}

test.each<[string, TestStatus[], string[], string[], 0 | 1 | 2]>([
  ['all passed', ['passed', 'passed'], [], [], 0],
  ['some did not apply', ['passed', 'notrun'], [], [], 0],
  ['one failed', ['passed', 'failed'], [], [], 1],
  ['one hung', ['passed', 'hung'], [], [], 1],
  ['one took the guest with it', ['passed', 'crashed'], [], [], 1],
  ['none ran', ['notrun', 'notrun'], [], [], 2],
  ['none selected', [], [], [], 2],
  ['one has no verdict', ['passed'], ['generic/999'], [], 2],
  ['the lab had a problem', ['passed'], [], ['The VM was lost.'], 2],
  ['a failure does not outweigh a lost verdict', ['failed'], ['generic/999'], [], 2],
])('%s', (_name, statuses, missing, problems, exitCode) => {
  expect(exitCodeOf(judge(outcomes(...statuses), missing, problems))).toBe(exitCode);
});
