// SPDX-License-Identifier: BSD-3-Clause

import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { InterruptedError } from '../lab/errors.ts';
import type { Vm } from '../lab/vm/vm.ts';
import type { WatchdogTiming } from './attempt.ts';
import { fileSystemProfile } from './filesystems.ts';
import { makeRunDirectory, runTests } from './run.ts';
import { type FakeContext, fakeContext } from './testing/context.ts';
import { FakeGuest, type PlayedCheck } from './testing/fake-guest.ts';
import { RecordedTimes } from './times.ts';
import { exitCodeOf, type RunReport } from './verdict.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'xfstests-run-'));
});
afterEach(() => rm(root, { recursive: true }));

/** Milliseconds in place of seconds and minutes. */
const timing: WatchdogTiming = { tick: 5, health: 10, collect: 500, idle: 400, fetch: 300 };
const three = ['generic/001', 'generic/002', 'generic/003'];
const forever = new Promise<never>(() => undefined);

interface Ran {
  readonly report: RunReport;
  readonly directory: string;
  readonly context: FakeContext;
  readonly guest: FakeGuest;
}

async function play(
  check: PlayedCheck,
  options: { tests?: readonly string[]; revive?: () => Promise<Vm>; limit?: number } = {},
): Promise<Ran> {
  const context = fakeContext(root);
  const guest = await FakeGuest.create(check);
  const { report, directory } = await runOn(guest, context, options);
  return { report, directory, context, guest };
}

async function runOn(
  vm: Vm,
  context: FakeContext,
  options: { tests?: readonly string[]; revive?: () => Promise<Vm>; limit?: number },
): Promise<{ report: RunReport; directory: string }> {
  const { run, directory } = await makeRunDirectory(join(root, 'results'), 'zpmfs', new Date());
  const report = await runTests(
    {
      vm,
      bundle: { key: 'abc', file: join(root, 'bundle.tar.gz') },
      tests: options.tests ?? three,
      fileSystem: fileSystemProfile('zpmfs'),
      devices: { test: ['/dev/pmem0'], scratch: ['/dev/pmem1'] },
      mounts: { test: '/mnt/test', scratch: '/mnt/scratch' },
      testTimeout: options.limit ?? 60,
      directory,
      run,
      times: await RecordedTimes.load(join(root, 'times.json')),
      timing,
      ...(options.revive === undefined ? {} : { revive: options.revive }),
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
  await using second = await FakeGuest.create(async (guest, tests) => {
    for (const name of tests) guest.pass(name);
    guest.finish();
    return 0;
  });
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
  expect(exitCodeOf(report.verdict)).toBe(1);
});

test('a guest that dies while its files are fetched does not hold the run up', async () => {
  await using second = await FakeGuest.create(async (guest, tests) => {
    for (const name of tests) guest.pass(name);
    guest.finish();
    return 0;
  });
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
  expect(revived).toBe(0);
  expect(report.missing).toEqual(three);
  expect(exitCodeOf(report.verdict)).toBe(2);
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
  const { report } = await play(async (guest) => {
    guest.pass('generic/001');
    return forever;
  });
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

test('times of passes are kept for the next ETA', async () => {
  await play(async (guest) => {
    for (const name of three) guest.pass(name);
    guest.finish();
    return 0;
  });
  const times = await RecordedTimes.load(join(root, 'times.json'));
  expect(times.estimate('zpmfs', three)).toBeTypeOf('number');
  expect(times.estimate('ext4-dax', three)).toBeUndefined();
  await writeFile(join(root, 'times.json'), '{"zpmfs": 3}');
  expect((await RecordedTimes.load(join(root, 'times.json'))).estimate('zpmfs', three)).toBeUndefined();
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
