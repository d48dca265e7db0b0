// SPDX-License-Identifier: BSD-3-Clause

/** Guests that hang, oops, or go away in the middle of a run. */

import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { LabError } from '../lab/errors.ts';
import { exitCodeOf } from '../lab/test-run/verdict.ts';
import { FakeGuest, type PlayedCheck } from './testing/fake-guest.ts';
import { forever, passAll, play, statuses, three } from './testing/played-run.ts';

test('a guest lost in a test: another VM takes the rest, the crash stands', async () => {
  await using second = await FakeGuest.create(passAll);
  const { report } = await play(
    async (guest) => {
      guest.pass('generic/001');
      guest.start('generic/002');
      throw new Error('the connection broke');
    },
    { revive: async () => second },
  );
  expect(statuses(report)).toEqual({
    'generic/001': 'passed',
    'generic/002': 'crashed',
    'generic/003': 'passed',
  });
  expect(second.commands.some((command) => command.includes('generic/002'))).toBe(false);
  expect(report.problems).toEqual([]);
  expect(report.events).toEqual(['The VM was lost (the connection broke); another took the rest.']);
  expect(exitCodeOf(report.verdict)).toBe(1);
});

const killed = { state: 'qemu-ended', code: null, consoleTail: '[   12.3] run fstests generic/002' } as const;

test('a VM that is killed from outside: its test runs again in another, with the same verdict as without, and the event is told', async () => {
  await using second = await FakeGuest.create(passAll);
  const { report } = await play(
    async (guest) => {
      guest.pass('generic/001');
      guest.start('generic/002');
      guest.state = killed;
      throw new Error('the connection broke');
    },
    { revive: async () => second },
  );
  expect(statuses(report)).toEqual({
    'generic/001': 'passed',
    'generic/002': 'passed',
    'generic/003': 'passed',
  });
  expect(report.events.join()).toMatch(/QEMU ended.*another took the rest, and generic\/002 once more/);
  expect(exitCodeOf(report.verdict)).toBe(0);
});

test('a test in which the VM goes twice has crashed it; so has one in which QEMU ended by itself', async () => {
  const dying: PlayedCheck = async (guest, tests) => {
    if (tests[0] !== 'generic/002') return passAll(guest, tests, new AbortController().signal);
    guest.start('generic/002');
    guest.state = killed;
    throw new Error('the connection broke');
  };
  const twice = await play(dying, {
    tests: ['generic/002', 'generic/003'],
    revive: () => FakeGuest.create(dying),
  });
  expect(statuses(twice.report)).toEqual({ 'generic/002': 'crashed', 'generic/003': 'passed' });

  const reset = await play(
    async (guest) => {
      guest.start('generic/001');
      guest.state = { ...killed, code: 0 };
      throw new Error('the connection broke');
    },
    { revive: () => FakeGuest.create(passAll) },
  );
  expect(statuses(reset.report)['generic/001']).toBe('crashed');
});

/** Plays a test that starts, and in which the console says `line`; the guest then does not go on. */
const says =
  (line: string, before: (guest: FakeGuest) => void = (guest) => guest.start('generic/001')): PlayedCheck =>
  async (guest) => {
    before(guest);
    await appendFile(guest.consoleLog, `[   77.123456] ${line}\n`);
    return forever;
  };

test.each([
  ['BUG: kernel NULL pointer dereference, address: 0000000000000010', 'crashed'],
  ['BUG: KASAN: slab-use-after-free in zuf_read+0x12/0x30', 'crashed'],
  ['WARNING: possible circular locking dependency detected', 'crashed'],
  ['Oops: general protection fault, probably for non-canonical address', 'crashed'],
  ['zufs-lab: the server has ended', 'crashed'],
  ["zufs-lab: the guest's root disk is full", 'failed'],
])(
  'the console says "%s": the test has %s, its state is kept, and another VM takes the rest',
  async (line, status) => {
    await using second = await FakeGuest.create(passAll);
    const { report, directory } = await play(says(line), { revive: async () => second });
    expect(report.tests[0]).toMatchObject({ name: 'generic/001', status, reason: line });
    expect(statuses(report)).toMatchObject({ 'generic/002': 'passed', 'generic/003': 'passed' });
    expect(report.events).toEqual([`The VM was lost (${line}); another took the rest.`]);
    expect(await readFile(join(directory, 'generic/001.state'), 'utf8')).toContain('every process');
    expect(exitCodeOf(report.verdict)).toBe(1);
  },
);

test('what the console says right after a test is its doing, although it was seen to pass', async () => {
  await using second = await FakeGuest.create(passAll);
  const { report } = await play(
    says('kernel BUG at mm/slub.c:448!', (guest) => guest.pass('generic/001')),
    { revive: async () => second },
  );
  expect(statuses(report)).toEqual({
    'generic/001': 'crashed',
    'generic/002': 'passed',
    'generic/003': 'passed',
  });
});

/** Plays three tests that pass; in the first the console says `line`, and the watchdog looks at it. */
const goesOnAfter =
  (line: string): PlayedCheck =>
  async (guest) => {
    guest.start('generic/001');
    await appendFile(guest.consoleLog, `[  200.1] ${line}\n`);
    const looked = Promise.withResolvers<void>();
    let asked = 0;
    // It looks at the console before each time, but perhaps not for the first since the line is there.
    guest.health = async () => {
      asked += 1;
      if (asked === 2) looked.resolve();
      return { state: 'running' };
    };
    await looked.promise;
    guest.print(' 1s\n');
    guest.record('generic/001');
    guest.pass('generic/002');
    guest.pass('generic/003');
    guest.finish();
    return 0;
  };

test('a task that waits for long is told, and is no verdict: a busy host does that too', async () => {
  const line = 'INFO: task fsstress:77 blocked for more than 122 seconds.';
  const { report } = await play(goesOnAfter(line), { timing: { tick: 1, health: 1 } });
  expect(report.verdict).toBe('passed');
  expect(report.events).toEqual([`During generic/001 the guest's kernel said: ${line}`]);
});

test('when check ends while the watchdog is asking for the VM, it asks no more', async () => {
  let asked = 0;
  await play(
    async (guest, tests, signal) => {
      const asking = Promise.withResolvers<void>();
      guest.health = async () => {
        asked += 1;
        asking.resolve();
        await sleep(50);
        return { state: 'running' };
      };
      await asking.promise;
      return passAll(guest, tests, signal);
    },
    { timing: { tick: 1, health: 1 } },
  );
  await sleep(100);
  const asking = asked;
  await sleep(100);
  expect(asked).toBe(asking);
});

test('a program of a test that dies of a bad pointer of its own is no alarm', async () => {
  const line = 'traps: fsx[77] general protection fault ip:40 sp:7f error:0';
  const { report } = await play(goesOnAfter(line), { timing: { tick: 1, health: 1 } });
  expect([report.verdict, report.events]).toEqual(['passed', []]);
});

test('a guest that dies while its files are fetched does not hold the run up', async () => {
  await using second = await FakeGuest.create(passAll);
  const { report } = await play(
    async (guest) => {
      guest.download = () => forever;
      guest.fail('generic/001');
      guest.start('generic/002');
      throw new Error('the connection broke');
    },
    { revive: async () => second },
  );
  expect(statuses(report)).toEqual({
    'generic/001': 'failed',
    'generic/002': 'crashed',
    'generic/003': 'passed',
  });
});

test('a VM that dies before any test is not replaced for ever', async () => {
  let revived = 0;
  const dying: PlayedCheck = async () => {
    throw new Error('gone');
  };
  const { report } = await play(dying, {
    revive: async () => {
      revived += 1;
      return FakeGuest.create(dying);
    },
  });
  expect(revived).toBe(1);
  expect(report.missing).toEqual(three);
  expect(exitCodeOf(report.verdict)).toBe(2);
});

test('no VM to be had in place of a lost one: the report has what ran, and why the rest did not', async () => {
  const { report } = await play(
    async (guest) => {
      guest.pass('generic/001');
      guest.start('generic/002');
      throw new Error('gone');
    },
    {
      revive: async () => {
        throw new LabError('There is no room.');
      },
    },
  );
  expect(statuses(report)).toEqual({ 'generic/001': 'passed', 'generic/002': 'crashed' });
  expect(report.missing).toEqual(['generic/003']);
  expect(report.problems).toEqual(['The VM was lost: gone, and none took its place: There is no room.']);
});

test('a VM that is lost before its results are fetched: what check printed counts', async () => {
  const { report } = await play(async (guest, tests, signal) => {
    guest.download = async () => {
      guest.state = { state: 'qemu-ended', code: 137, consoleTail: '' };
      throw new Error('the connection broke');
    };
    return passAll(guest, tests, signal);
  });
  expect(report).toMatchObject({ verdict: 'passed', problems: [], missing: [] });
  expect(report.events.join()).toMatch(/lost before its results were here \(QEMU ended .*what check printed/);
});
