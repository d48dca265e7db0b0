// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { LabError } from './errors.ts';
import { withLock } from './lock.ts';
import { quietContext } from './runtime/testing/context.ts';
import { scratchDirectory } from './testing/scratch.ts';

/** Another process takes the lock over, and the holder comes to know of it, as after a sleep of the machine. */
async function takeOver(path: string, notes: readonly string[]): Promise<void> {
  await rmdir(path);
  await mkdir(path);
  // The holder looks at its lock every few seconds.
  await vi.advanceTimersByTimeAsync(10_000);
  await vi.waitUntil(() => notes.some((note) => note.startsWith(`The lock ${path} was lost`)), 20_000);
}

async function heldLock() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const path = join(await scratchDirectory(), 'lock');
  const context = quietContext();
  const run = <T>(body: () => Promise<T>) => withLock(path, 'another', context, body);
  return { path, notes: context.notes, run };
}

test('a lock that was lost on the way costs the body nothing, and is left to who has it now', async () => {
  const { path, notes, run } = await heldLock();
  const result = await run(async () => {
    await takeOver(path, notes);
    return 'built';
  });
  expect(result).toBe('built');
  expect((await stat(path)).isDirectory()).toBe(true);
});

test('a lock that was lost does not hide why the body failed', async () => {
  const { path, notes, run } = await heldLock();
  const failed = run(async () => {
    await takeOver(path, notes);
    throw new LabError('It does not build.');
  });
  await expect(failed).rejects.toThrow('It does not build.');
});

test('who waits for a lock says so, instead of what was done before', async () => {
  const path = join(await scratchDirectory(), 'lock');
  const [holder, waiter] = [quietContext(), quietContext()];
  const order: string[] = [];
  let waiting: Promise<void> | undefined;
  await withLock(path, 'nobody', holder, async () => {
    waiting = withLock(path, 'the holder', waiter, async () => void order.push('waiter'));
    await vi.waitUntil(() => waiter.notes.length > 0);
    order.push('holder');
  });
  await waiting;
  expect(waiter.notes).toEqual(['Waiting for the holder.']);
  expect(waiter.updates).toEqual(['waiting']);
  expect(holder.updates).toEqual([]);
  expect(order).toEqual(['holder', 'waiter']);
});
