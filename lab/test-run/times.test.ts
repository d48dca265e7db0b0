// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { RecordedTimes } from './times.ts';

const noFile = '/nowhere/times.json';
const three = ['generic/001', 'generic/002', 'generic/003'];

test('a test that was never seen takes what is typical of it, at the pace of those that were', async () => {
  const typical = { others: 5, tests: { 'generic/001': 20, 'generic/003': 90 } };
  const times = await RecordedTimes.load(noFile, typical);
  expect(three.map(times.expected('zpmfs', three))).toEqual([20, 5, 90]);
  times.record('zpmfs', 'generic/001', 'passed', 8);
  times.record('zpmfs', 'generic/002', 'notrun', 2);
  expect(three.map(times.expected('zpmfs', three))).toEqual([8, 2, 36]);
});
