// SPDX-License-Identifier: BSD-3-Clause

import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { InterruptedError, LabError } from '../lab/errors.ts';
import { packageRoot } from '../lab/paths.ts';
import type { Vm } from '../lab/vm/vm.ts';
import type { WatchdogTiming } from './attempt.ts';
import { fileSystemProfile } from './filesystems.ts';
import { readJournal } from './journal.ts';
import { makeRunDirectory, runTests } from './run.ts';
import { type FakeContext, fakeContext, noProvenance } from './testing/context.ts';
import { FakeGuest, type PlayedCheck } from './testing/fake-guest.ts';
import { RecordedTimes, seriesOf } from './times.ts';
import { exitCodeOf, type RunReport, type TestOutcome } from './verdict.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'xfstests-run-'));
});
afterEach(() => rm(root, { recursive: true }));

/** Looks often; but what it waits for may take long on a busy machine. */
const timing: WatchdogTiming = { tick: 5, health: 10, collect: 60_000, idle: 60_000, fetch: 60_000 };
const three = ['generic/001', 'generic/002', 'generic/003'];
const alike = { others: 1, tests: {} };
const forever = new Promise<never>(() => undefined);

const passAll: PlayedCheck = async (guest, tests) => {
  for (const name of tests) guest.pass(name);
  guest.finish();
  return 0;
};

interface PlayOptions {
  readonly tests?: readonly string[];
  readonly revive?: () => Promise<Vm>;
  readonly limit?: number;
  readonly timing?: Partial<WatchdogTiming>;
  /** Guests of further shards. */
  readonly others?: readonly Vm[];
  readonly settled?: readonly TestOutcome[];
  readonly expunged?: ReadonlySet<string>;
  readonly flavour?: string;
  /** What a test is expected to take; default 1. */
  readonly expectedSeconds?: number;
}

interface Ran {
  readonly report: RunReport;
  readonly directory: string;
  readonly context: FakeContext;
  readonly guest: FakeGuest;
}

async function play(check: PlayedCheck, options: PlayOptions = {}): Promise<Ran> {
  const context = fakeContext(root);
  const guest = await FakeGuest.create(check);
  const { report, directory } = await runOn(guest, context, options);
  return { report, directory, context, guest };
}

async function runOn(
  vm: Vm,
  context: FakeContext,
  options: PlayOptions,
): Promise<{ report: RunReport; directory: string }> {
  const { run, directory } = await makeRunDirectory(join(root, 'results'), 'zpmfs', new Date());
  const devices = { test: ['/dev/pmem0'], scratch: ['/dev/pmem1'] };
  const { revive } = options;
  const report = await runTests(
    {
      vms: [
        {
          vm,
          devices,
          ...(revive === undefined ? {} : { revive: async () => ({ vm: await revive(), devices }) }),
        },
        ...(options.others ?? []).map((other) => ({
          vm: other,
          devices,
        })),
      ],
      ...(options.settled === undefined ? {} : { settled: options.settled }),
      ...(options.expunged === undefined ? {} : { expunged: options.expunged }),
      bundle: { key: 'abc', file: join(root, 'bundle.tar.gz') },
      tests: options.tests ?? three,
      fileSystem: fileSystemProfile('zpmfs', packageRoot),
      mounts: { test: '/mnt/test', scratch: '/mnt/scratch' },
      testTimeout: options.limit ?? 60,
      directory,
      run,
      provenance: { ...noProvenance, flavour: options.flavour ?? 'release' },
      times: await RecordedTimes.load(join(root, 'times.json'), {
        ...alike,
        others: options.expectedSeconds ?? alike.others,
      }),
      timing: { ...timing, ...options.timing },
    },
    context,
  );
  return { report, directory };
}

function statuses(report: RunReport): Record<string, string> {
  return Object.fromEntries(report.tests.map((outcome) => [outcome.name, outcome.status]));
}

test('the test file system is mounted again at the end, where check leaves it unmounted', async () => {
  const { guest } = await play(async (playing) => {
    for (const name of three) playing.pass(name);
    playing.finish();
    // So that only what comes after check is looked at.
    playing.commands.length = 0;
    return 0;
  });
  expect(guest.commands).toContainEqual(['mount', '-t', 'zpmfs', '/dev/pmem0', '/mnt/test']);
});

test('passes and a notrun: exit 0, and the reports agree', async () => {
  const { report, directory, context } = await play(async (guest) => {
    guest.pass('generic/001');
    guest.notrun('generic/002', 'no quota here');
    guest.pass('generic/003');
    guest.finish();
    return 0;
  });
  expect(statuses(report)).toEqual({
    'generic/001': 'passed',
    'generic/002': 'notrun',
    'generic/003': 'passed',
  });
  expect(exitCodeOf(report.verdict)).toBe(0);
  expect(report.counts).toEqual({ passed: 2, failed: 0, notrun: 1, crashed: 0, hung: 0 });
  expect(JSON.parse(await readFile(join(directory, 'report.json'), 'utf8'))).toEqual(report);
  expect(await readFile(join(directory, 'junit.xml'), 'utf8')).toContain('no quota here');
  expect(await readFile(join(directory, 'summary.md'), 'utf8')).toContain('2 passed, 1 not run');
  expect(context.notes).toHaveLength(3);
  expect(context.notes[0]).toMatch(/^generic\/001\s+passed/);
});

test('a failure: exit 1, its files on the host although the guest dies right after', async () => {
  const { report, directory } = await play(async (guest) => {
    guest.fail('generic/001');
    guest.start('generic/002');
    await waitFor(() =>
      guest.commands.some((command) => command.includes('generic/001') && command[1]?.includes('pack')),
    );
    guest.state = {
      state: 'panicked',
      consoleTail: 'x\n[   12.3] Kernel panic - not syncing: Fatal exception\nend',
    };
    return forever;
  });
  expect(statuses(report)).toEqual({ 'generic/001': 'failed', 'generic/002': 'crashed' });
  expect(report.tests[1]?.reason).toContain('Kernel panic - not syncing: Fatal exception');
  expect(report.missing).toEqual(['generic/003']);
  expect(exitCodeOf(report.verdict)).toBe(2);
  expect(await readFile(join(directory, 'generic/001.out.bad'), 'utf8')).toContain('instead');
});

test('a failure alone is exit 1', async () => {
  const { report } = await play(async (guest) => {
    guest.pass('generic/001');
    guest.fail('generic/002');
    guest.pass('generic/003');
    guest.finish();
    return 1;
  });
  expect(statuses(report)['generic/002']).toBe('failed');
  expect(exitCodeOf(report.verdict)).toBe(1);
});

test('what kmemleak finds at the end fails the last test, with its report', async () => {
  await using guest = await FakeGuest.create(async (it, tests) => {
    for (const name of tests) it.pass(name);
    it.finish();
    return 0;
  });
  guest.leaksLeft =
    'unreferenced object 0x1 (size 8):\nTests since the scan before: generic/001 generic/002\n';
  const { report, directory } = await runOn(guest, fakeContext(root), {});
  expect(statuses(report)).toEqual({
    'generic/001': 'passed',
    'generic/002': 'failed',
    'generic/003': 'passed',
  });
  expect(report.events.join()).toContain('generic/002: kmemleak found something after it');
  expect(await readFile(join(directory, 'generic/002.kmemleak'), 'utf8')).toBe(guest.leaksLeft);
  expect(exitCodeOf(report.verdict)).toBe(1);
});

test('a hang: ended at its limit, state kept, the others go on; what is printed after does not change it', async () => {
  const { report, directory, context } = await play(
    async (guest) => {
      guest.pass('generic/001');
      guest.start('generic/002');
      await guest.ended;
      guest.print(' 1s\n');
      guest.pass('generic/003');
      guest.finish();
      return 0;
    },
    { limit: 0.05 },
  );
  expect(statuses(report)).toEqual({
    'generic/001': 'passed',
    'generic/002': 'hung',
    'generic/003': 'passed',
  });
  expect(exitCodeOf(report.verdict)).toBe(1);
  expect(await readFile(join(directory, 'generic/002.state'), 'utf8')).toContain('every process');
  expect(context.notes.filter((line) => line.startsWith('generic/002'))).toHaveLength(1);
});

test('a hang that cannot be killed: the run ends with what it has', async () => {
  const { report } = await play(
    async (guest) => {
      guest.endTest = 'stuck\n  77 D   folio_wait  fsstress\n';
      guest.pass('generic/001');
      guest.start('generic/002');
      return forever;
    },
    { limit: 0.05 },
  );
  expect(statuses(report)).toEqual({ 'generic/001': 'passed', 'generic/002': 'hung' });
  expect(report.problems.join()).toContain('folio_wait');
  expect(exitCodeOf(report.verdict)).toBe(2);
});

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

/** Plays three tests that pass; in the first the console says `line`. */
const goesOnAfter =
  (line: string): PlayedCheck =>
  async (guest) => {
    guest.start('generic/001');
    await appendFile(guest.consoleLog, `[  200.1] ${line}\n`);
    await sleep(50);
    guest.print(' 1s\n');
    guest.record('generic/001');
    guest.pass('generic/002');
    guest.pass('generic/003');
    guest.finish();
    return 0;
  };

test('a task that waits for long is told, and is no verdict: a busy host does that too', async () => {
  const { report } = await play(goesOnAfter('INFO: task fsstress:77 blocked for more than 122 seconds.'));
  expect(report.verdict).toBe('passed');
  expect(report.events).toEqual([
    "During generic/001 the guest's kernel said: INFO: task fsstress:77 blocked for more than 122 seconds.",
  ]);
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
  const { report } = await play(goesOnAfter('traps: fsx[77] general protection fault ip:40 sp:7f error:0'));
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

test('check that refuses to start: exit 2 with its words', async () => {
  const { report } = await play(async (guest) => {
    guest.print('check: failed to mkfs $SCRATCH_DEV using specified options\n');
    return 1;
  });
  expect(report.problems.join()).toContain('failed to mkfs');
  expect(exitCodeOf(report.verdict)).toBe(2);
});

test('check that does not move on between tests is given up', async () => {
  const { report } = await play(
    async (guest) => {
      guest.pass('generic/001');
      return forever;
    },
    { timing: { idle: 400 } },
  );
  expect(report.problems.join()).toMatch(/did not go on/);
  expect(report.missing).toEqual(['generic/002', 'generic/003']);
});

test('a pass that no file records is none: exit 2', async () => {
  const { report } = await play(async (guest) => {
    for (const name of three) guest.pass(name);
    // The last report was never written: the third test is not in result.xml.
    return 0;
  });
  expect(report.missing).toEqual(['generic/003']);
  expect(exitCodeOf(report.verdict)).toBe(2);
});

test('garbage in the result file: exit 2, not 0', async () => {
  const { report } = await play(async (guest) => {
    for (const name of three) guest.pass(name);
    guest.files.set('result.xml', '\u0000\u0001garbage');
    return 0;
  });
  expect(report.missing).toEqual(three);
  expect(report.problems.join()).toContain('result.xml');
  expect(exitCodeOf(report.verdict)).toBe(2);
});

test('nothing but notruns: exit 2', async () => {
  const { report } = await play(async (guest) => {
    for (const name of three) guest.notrun(name, 'not here');
    guest.finish();
    return 0;
  });
  expect(exitCodeOf(report.verdict)).toBe(2);
});

test('interrupted: check is ended in the guest, the report of what ran is written', async () => {
  const context = fakeContext(root);
  await using guest = await FakeGuest.create(async (played) => {
    played.pass('generic/001');
    played.start('generic/002');
    context.abort.abort(new InterruptedError());
    return forever;
  });
  await expect(runOn(guest, context, {})).rejects.toThrow(InterruptedError);
  expect(guest.commands.at(-1)).toEqual(expect.arrayContaining(['all']));
  const [run] = await readdir(join(root, 'results'));
  const report = JSON.parse(
    await readFile(join(root, 'results', run ?? '', 'report.json'), 'utf8'),
  ) as RunReport;
  expect(statuses(report)).toEqual({ 'generic/001': 'passed' });
  expect(report.verdict).toBe('incomplete');
});

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

test('a run that was ended is resumed from its journal: what has a verdict is not run again', async () => {
  const context = fakeContext(root);
  await using guest = await FakeGuest.create(async (played) => {
    played.fail('generic/001');
    played.start('generic/002');
    context.abort.abort(new InterruptedError());
    return forever;
  });
  await expect(runOn(guest, context, {})).rejects.toThrow(InterruptedError);
  const [run] = await readdir(join(root, 'results'));
  const { plan, outcomes } = await readJournal(join(root, 'results', run ?? ''));
  expect(plan.tests).toEqual(three);
  expect(outcomes.map(({ name, status }) => [name, status])).toEqual([['generic/001', 'failed']]);

  let asked: readonly string[] = [];
  const { report } = await play(
    async (played, tests) => {
      asked = tests;
      return await passAll(played, tests, context.signal);
    },
    { settled: outcomes },
  );
  expect(asked).toEqual(['generic/002', 'generic/003']);
  expect(statuses(report)).toEqual({
    'generic/001': 'failed',
    'generic/002': 'passed',
    'generic/003': 'passed',
  });
  expect(report.verdict).toBe('failed');
});

test('half a line at the end of a journal is the test that has no verdict', async () => {
  const { directory } = await play(passAll);
  const text = await readFile(join(directory, 'journal.jsonl'), 'utf8');
  const lastEntry = text.lastIndexOf('{');
  await writeFile(join(directory, 'journal.jsonl'), `${text.slice(0, lastEntry)}{"name":"gener`);
  expect((await readJournal(directory)).outcomes.map(({ name }) => name)).toContain('generic/001');
  await expect(readJournal(root)).rejects.toThrow(/holds no run that could be resumed/);
});

test('an expunge of a test that passes is reported as not needed', async () => {
  const { report } = await play(passAll, { expunged: new Set(['generic/002']) });
  expect(report.events).toEqual(['generic/002 is expunged, but passed: its expunge is not needed.']);
  expect(report.verdict).toBe('passed');
});

test('what tests took is kept for the next ETA; those that do not apply count, but set no limit', async () => {
  await play(async (guest) => {
    guest.pass('generic/001');
    guest.notrun('generic/002', 'no such thing here');
    guest.finish();
    return 0;
  });
  const times = await RecordedTimes.load(join(root, 'times.json'), alike);
  expect(times.of('zpmfs', 'generic/001')).toBeTypeOf('number');
  expect(times.of('zpmfs', 'generic/002')).toBeUndefined();

  times.record('zpmfs', 'generic/001', 'passed', 10);
  times.record('zpmfs', 'generic/002', 'notrun', 2);
  const expected = (fileSystem: string) => three.map(times.expected(fileSystem, three));
  expect(expected('zpmfs')).toEqual([10, 2, 6]);
  expect(expected('ext4-dax')).toEqual([1, 1, 1]);
});

test('what tests took on a debug kernel says nothing about a release one, nor the other way round', async () => {
  await writeFile(join(root, 'times.json'), '{"zpmfs": {"generic/002": 2}}');
  await play(passAll, { flavour: 'debug' });
  const times = await RecordedTimes.load(join(root, 'times.json'), alike);
  expect(three.map((test) => times.of('zpmfs', test))).toEqual([undefined, 2, undefined]);
  const took = three.map((test) => times.of(seriesOf('zpmfs', 'debug'), test));
  expect(took).toEqual(three.map(() => expect.any(Number)));
});

test('how long a run will take and how far it is goes by the time of the tests that it has to do', async () => {
  await writeFile(
    join(root, 'times.json'),
    '{"zpmfs": {"generic/001": 9, "generic/002": 1, "generic/003": 90}}',
  );
  const settled: TestOutcome = { name: 'generic/003', status: 'passed', seconds: 90, reason: '' };
  const { context } = await play(passAll, { settled: [settled] });
  expect(context.fractions).toEqual([0.9, 1]);
  expect(context.expectations).toEqual([10_000]);
});

test('a damaged file of times is a run without estimates', async () => {
  await writeFile(join(root, 'times.json'), '{"zpmfs": 3}');
  expect(
    (await RecordedTimes.load(join(root, 'times.json'), alike)).of('zpmfs', 'generic/001'),
  ).toBeUndefined();
});

test('two runs in one second get two directories', async () => {
  const now = new Date('2026-01-02T03:04:05.678Z');
  const first = await makeRunDirectory(join(root, 'results'), 'zpmfs', now);
  const second = await makeRunDirectory(join(root, 'results'), 'zpmfs', now);
  expect(first.run).toBe('20260102-030405-zpmfs');
  expect(second.run).not.toBe(first.run);
  expect((await stat(second.directory)).isDirectory()).toBe(true);
});

async function waitFor(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

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
    commands.filter((command) => command.join().includes('measure-exec'));
  expect(calls).toBe(3);
  expect(guest.uploads).toHaveLength(1);
  expect(measured(guest)).toHaveLength(1);
  expect([third.uploads.length, measured(third).length]).toEqual([1, 1]);
});
