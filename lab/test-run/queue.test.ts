// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { type QueueWorker, TestQueue } from './queue.ts';

const times: Readonly<Record<string, number>> = { a: 100, b: 60, c: 50, d: 10, e: 1 };
const names = Object.keys(times);
const seconds = (name: string) => times[name] ?? 0;
const never = new AbortController().signal;

/** Simulate workers, each `pace` times as slow as expected: what each ran, and when the last of them ended. */
async function simulate(
  queue: TestQueue,
  paces: readonly number[],
  seconds: (test: string) => number,
): Promise<{ readonly ran: readonly (readonly string[])[]; readonly end: number }> {
  const workers = paces.map((pace) => ({ pace, queue: queue.worker(), free: 0, ran: [] as string[] }));
  const busy = new Set(workers);
  while (busy.size > 0) {
    const next = [...busy].reduce((first, worker) => (worker.free < first.free ? worker : first));
    // Nobody gives anything back here: a worker that would have to wait has nothing more to do.
    const tests = await next.queue.take(AbortSignal.timeout(20)).catch(() => []);
    if (tests.length === 0) busy.delete(next);
    next.ran.push(...tests);
    next.free += next.pace * tests.reduce((sum, name) => sum + seconds(name), 0);
  }
  return { ran: workers.map(({ ran }) => ran), end: Math.max(...workers.map(({ free }) => free)) };
}

test('one worker gets everything at once, in the order that was asked for', async () => {
  const worker = new TestQueue(['d', 'a', 'c'], 1, seconds).worker();
  expect(await worker.take(never)).toEqual(['d', 'a', 'c']);
  expect(await worker.take(never)).toEqual([]);
});

test('where they are handed out one by one, a worker alone gets the longest first, and no two together', async () => {
  const worker = new TestQueue(names.toReversed(), 1, seconds, { oneByOne: true }).worker();
  const taken: (readonly string[])[] = [];
  for (const _ of names) taken.push(await worker.take(never));
  expect(taken).toEqual([['a'], ['b'], ['c'], ['d'], ['e']]);
});

test('the longest first; every test goes to one worker; the last few go together', async () => {
  const queue = new TestQueue(names.toReversed(), 2, seconds);
  const [first, second] = [queue.worker(), queue.worker()];
  expect(await first.take(never)).toEqual(['a']);
  expect(await second.take(never)).toEqual(['b']);
  expect(await second.take(never)).toEqual(['c']);
  expect(await second.take(never)).toEqual(['e', 'd']);
});

test('a share is no shorter than is worth starting check for, unless the others then had nothing', async () => {
  const many = Array.from({ length: 80 }, (_, at) => `generic/${at}`);
  const queue = new TestQueue(many, 2, () => 4);
  const [first, second] = [queue.worker(), queue.worker()];
  const shares: number[] = [];
  for (let at = 0; at < 7; at += 1) {
    const tests = await (at % 2 === 0 ? first : second).take(never);
    shares.push(tests.length);
  }
  expect(shares).toEqual([20, 15, 15, 15, 7, 7, 1]);
});

test('a worker that is four times as slow is not waited for', async () => {
  const many = Array.from({ length: 200 }, (_, at) => `generic/${at}`);
  const each = (name: string) => 1 + (Number(name.slice(8)) % 20);
  const total = many.reduce((sum, name) => sum + each(name), 0);
  const { ran, end } = await simulate(new TestQueue(many, 2, each), [1, 4], each);
  expect(ran.flat().sort()).toEqual([...many].sort());
  // Both together do 1 + 1/4 seconds of tests a second.
  expect(end / (total / 1.25)).toBeLessThan(1.15);
});

test('no share of several workers is long, unless they are alike: one that turns out slow holds little', async () => {
  const many = Array.from({ length: 1000 }, (_, at) => `generic/${at}`);
  const queue = new TestQueue(many, 2, () => 10);
  expect(await queue.worker().take(never)).toHaveLength(60);
  const alike = new TestQueue(many, 2, () => 10, { alike: true });
  expect(await alike.worker().take(never)).toHaveLength(250);
  expect(await alike.worker().take(never)).toHaveLength(187);
});

test('workers that are given more while they run get little at a time, and hold all of it', async () => {
  const many = Array.from({ length: 10 }, (_, at) => `generic/${at}`);
  const queue = new TestQueue(many, 2, () => 4, { refills: true });
  const [first, second] = [queue.worker(), queue.worker()];
  expect(await first.take(never)).toHaveLength(2);
  expect(first.takeMore()).toHaveLength(2);
  expect(await second.take(never)).toHaveLength(2);
  first.leave();
  // The six that are left, of which the first had four.
  expect(second.takeMore()).toHaveLength(8);
  expect(second.takeMore()).toEqual([]);
  expect(await second.take(never)).toEqual([]);
});

test('what a worker gives back goes to one that waits for it', async () => {
  const queue = new TestQueue(['a', 'b'], 2, seconds);
  const [first, second] = [queue.worker(), queue.worker()];
  expect(await first.take(never)).toEqual(['a']);
  expect(await second.take(never)).toEqual(['b']);
  const waiting = second.take(never);
  first.giveBack(['a']);
  first.leave();
  expect(await waiting).toEqual(['a']);
});

test('what a worker that is no more had goes to the others, once', async () => {
  const queue = new TestQueue(['a', 'b'], 2, seconds);
  const [first, second] = [queue.worker(), queue.worker()];
  await first.take(never);
  first.leave();
  expect(await second.take(never)).toEqual(['a', 'b']);
  expect(await second.take(never)).toEqual([]);
});

test('a worker that waits ends with the others, and when interrupted', async () => {
  const queue = new TestQueue(['a'], 2, seconds);
  const [first, second] = [queue.worker(), queue.worker()];
  await first.take(never);
  const interrupt = new AbortController();
  const interrupted = second.take(interrupt.signal);
  interrupt.abort(new Error('interrupted'));
  await expect(interrupted).rejects.toThrow('interrupted');
  const waiting = second.take(never);
  expect(await first.take(never)).toEqual([]);
  expect(await waiting).toEqual([]);
});

test('a test is spared once, whichever VM was killed in it', () => {
  const queue = new TestQueue(['a', 'b'], 2, seconds);
  const killedIn = (worker: QueueWorker, name: string) => worker.spares(name);
  const [first, second] = [queue.worker(), queue.worker()];
  expect(killedIn(first, 'a')).toBe(true);
  expect(killedIn(second, 'a')).toBe(false);
  expect(killedIn(second, 'b')).toBe(true);
});

test('of two that wait one gets what is given back; the other waits on, for what that one may give back', async () => {
  const queue = new TestQueue(['a'], 3, seconds);
  const [first, second, third] = [queue.worker(), queue.worker(), queue.worker()];
  expect(await first.take(never)).toEqual(['a']);
  const waiting = [second.take(never), third.take(never)];
  first.giveBack(['a']);
  expect(await Promise.race(waiting)).toEqual(['a']);
  second.giveBack(['a']);
  expect(await waiting[1]).toEqual(['a']);
});

test('a worker without a VM is wanted as soon as there is anything to take, and not once all is done', async () => {
  const queue = new TestQueue(['a'], 2, seconds);
  const [first, second] = [queue.worker(), queue.worker()];
  await first.take(never);
  const wanted = second.isWanted(never);
  first.giveBack(['a']);
  expect(await wanted).toBe(true);
  await first.take(never);
  const again = second.isWanted(never);
  expect(await first.take(never)).toEqual([]);
  expect(await again).toBe(false);
});
