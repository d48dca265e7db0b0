// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { balance } from './plan.ts';

const times: Readonly<Record<string, number>> = { a: 100, b: 60, c: 50, d: 10, e: 1 };
const seconds = (name: string) => times[name] ?? 0;

test('every test goes to one shard, and the shards have about as much to do', () => {
  const shards = balance(['a', 'b', 'c', 'd', 'e'], 2, seconds);
  expect(shards.flat().sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
  const loads = shards.map((tests) => tests.reduce((sum, name) => sum + seconds(name), 0));
  expect(Math.abs(loads[0] - loads[1])).toBeLessThanOrEqual(1);
});

test('a shard keeps the order that was asked for', () => {
  for (const tests of balance(['e', 'd', 'c', 'b', 'a'], 2, seconds)) {
    expect(tests).toEqual([...tests].sort().reverse());
  }
});

test('more shards than tests: some have nothing to do', () => {
  expect(balance(['a'], 3, seconds)).toEqual([['a'], [], []]);
});
