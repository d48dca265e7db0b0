// SPDX-License-Identifier: BSD-3-Clause

/** Several guests beside each other. */

import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { exitCodeOf } from '../lab/test-run/verdict.ts';
import { FakeGuest, type PlayedCheck } from './testing/fake-guest.ts';
import { passAll, play, three } from './testing/played-run.ts';

test('two shards: every test runs once, the verdict is one, the files of both are there', async () => {
  await using second = await FakeGuest.create(async (guest, tests) => {
    for (const name of tests) guest.fail(name);
    guest.finish();
    return 1;
  });
  const { report, directory } = await play(passAll, { others: [second] });
  expect(report.tests.map(({ name }) => name)).toEqual(three);
  expect(report.counts).toMatchObject({ passed: 2, failed: 1 });
  expect(report).toMatchObject({ verdict: 'failed', shards: 2, missing: [] });
  const files = await readdir(directory);
  expect(files).toEqual(expect.arrayContaining(['result-shard1.1.xml', 'result-shard2.1.xml', 'index.html']));
});

/** What a guest was given: with the call of check, and while it ran. */
function given(guest: FakeGuest) {
  const calls = guest.commands.filter((command) => command.join().includes('start-check.sh'));
  return { calls: calls.map((command) => command.slice(5)), more: guest.more };
}

const twenty = Array.from({ length: 20 }, (_, at) => `generic/${String(at + 1).padStart(3, '0')}`);

test('shards are handed tests a few at a time, and call check once', async () => {
  const early: string[] = [];
  /** Is given more when the last of its tests starts, no sooner. */
  const watched: PlayedCheck = async (playing, tests, signal) => {
    const [first, ...rest] = tests;
    const before = playing.more.length;
    playing.pass(first);
    if (rest.length > 0 && playing.more.length > before) early.push(first);
    return await passAll(playing, rest, signal);
  };
  await using second = await FakeGuest.create(watched);
  const options = { others: [second], tests: twenty, refills: true, expectedSeconds: 4 };
  const { guest, report } = await play(watched, options);
  expect(early).toEqual([]);
  expect(report).toMatchObject({ verdict: 'passed', counts: { passed: 20 }, missing: [], problems: [] });
  const both = [guest, second].map(given);
  expect(both.map(({ calls }) => calls.length)).toEqual([1, 1]);
  expect(both.map(({ more }) => more.at(-1))).toEqual(['.', '.']);
  const handed = both.flatMap(({ calls, more }) => [calls[0].join('\n'), ...more.slice(0, -1)]);
  expect(handed.map((lines) => lines.split('\n').length)).toEqual(Array.from({ length: 10 }, () => 2));
  expect(handed.flatMap((lines) => lines.split('\n')).sort()).toEqual(twenty);
});

test('what a shard was given while it ran goes to the others when it dies, and is run once', async () => {
  const ran: string[] = [];
  await using second = await FakeGuest.create(async (guest, tests) => {
    if (guest.more.length > 1) throw new Error('gone');
    return await passAll(guest, tests, new AbortController().signal);
  });
  const counting: PlayedCheck = async (guest, tests, signal) => {
    ran.push(...tests);
    // The other one is to have its share.
    while (guest.more.length > 0 && given(second).more.length < 2) await sleep(5);
    return await passAll(guest, tests, signal);
  };
  const options = { others: [second], tests: twenty, refills: true, expectedSeconds: 4 };
  const { report } = await play(counting, options);
  expect(report).toMatchObject({ verdict: 'passed', counts: { passed: 20 }, missing: [], problems: [] });
  expect(report.events).toEqual(['The VM was lost: gone']);
  expect(new Set(ran).size).toBe(ran.length);
});

test('one VM alone has all tests from the start, and is given no more', async () => {
  const { guest } = await play(passAll, { tests: twenty, refills: true });
  expect(given(guest)).toEqual({ calls: [twenty], more: [] });
});

const goneAtOnce: PlayedCheck = async () => {
  throw new Error('gone');
};

test('what a shard that dies had is run by the others: the verdict is as without, the event is told', async () => {
  await using second = await FakeGuest.create(goneAtOnce);
  const { report } = await play(passAll, { others: [second] });
  expect(report.counts.passed).toBe(3);
  expect(report).toMatchObject({ verdict: 'passed', missing: [], problems: [] });
  expect(report.events).toEqual(['The VM was lost: gone']);
});

test('a shard whose guest cannot be prepared is a lost one too', async () => {
  await using second = await FakeGuest.create(passAll);
  second.upload = async () => {
    throw new Error('no room');
  };
  const { report } = await play(passAll, { others: [second] });
  expect(report).toMatchObject({ verdict: 'passed', missing: [], events: ['shard2: no room'] });
});

test('what was wrong in a shard is told, also when it goes later', async () => {
  const tests = Array.from({ length: 12 }, (_, at) => `generic/1${10 + at}`);
  const over = Promise.withResolvers<void>();
  await using second = await FakeGuest.create(async (guest, given, signal) => {
    await passAll(guest, given, signal);
    guest.files.set('result.xml', 'garbage');
    const exec = guest.exec.bind(guest);
    guest.exec = async (command, options) => {
      if (!command[1]?.endsWith('prepare.sh')) return await exec(command, options);
      over.resolve();
      throw new Error('no room');
    };
    return 0;
  });
  const waiting: PlayedCheck = async (guest, given, signal) => {
    await over.promise;
    return await passAll(guest, given, signal);
  };
  const { report } = await play(waiting, { tests, others: [second], expectedSeconds: 60 });
  expect(report.problems).toEqual(['result.xml holds no test suite.', 'shard2: no room']);
});

test('when every shard dies, what none could run is without a verdict: exit 2', async () => {
  await using second = await FakeGuest.create(goneAtOnce);
  const dies: PlayedCheck = async (guest) => {
    guest.pass('generic/001');
    throw new Error('gone too');
  };
  const { report } = await play(dies, { others: [second] });
  expect(report.counts.passed).toBe(1);
  expect(report.missing).toHaveLength(2);
  expect(report.problems).toEqual(['The VM was lost: gone too', 'The VM was lost: gone']);
  expect(exitCodeOf(report.verdict)).toBe(2);
});

test('what a guest needs once is not done again for each hand-out; a guest in place of a lost one needs it too', async () => {
  // Of a minute each by what is typical here, so that hand-outs are of one or two.
  const tests = Array.from({ length: 12 }, (_, at) => `generic/1${10 + at}`);
  const lost = Promise.withResolvers<void>();
  await using second = await FakeGuest.create(async (played, given, signal) => {
    await lost.promise;
    return passAll(played, given, signal);
  });
  await using third = await FakeGuest.create(passAll);
  let calls = 0;
  const { guest } = await play(
    async (played, given, signal) => {
      calls += 1;
      if (calls < 3) return passAll(played, given, signal);
      played.start(given[0] ?? '');
      lost.resolve();
      throw new Error('gone');
    },
    { tests, others: [second], expectedSeconds: 60, revive: async () => third },
  );
  const measured = ({ commands }: FakeGuest) =>
    commands.filter((command) => command.join().includes('guest-facts'));
  expect(calls).toBe(3);
  expect(guest.uploads).toHaveLength(1);
  expect(measured(guest)).toHaveLength(1);
  expect([third.uploads.length, measured(third).length]).toEqual([1, 1]);
});
