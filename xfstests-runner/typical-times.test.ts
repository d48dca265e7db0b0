// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { packageRoot } from '../lab/paths.ts';
import { TestQueue } from '../lab/test-run/queue.ts';
import { RecordedTimes } from '../lab/test-run/times.ts';
import { readTypicalTimes } from './typical-times.ts';

const noFile = '/nowhere/times.json';

test('without times of its own, a machine keeps the longest tests of the quick group apart', async () => {
  const times = await RecordedTimes.load(noFile, await readTypicalTimes(packageRoot));
  const tests = ['generic/371', 'generic/002', 'generic/069', 'generic/748'];
  const queue = new TestQueue(tests, 2, times.expected('zpmfs', tests));
  const { signal } = new AbortController();
  expect(await queue.worker().take(signal)).toEqual(['generic/371']);
  expect(await queue.worker().take(signal)).toEqual(['generic/069']);
});
