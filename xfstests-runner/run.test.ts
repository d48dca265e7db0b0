// SPDX-License-Identifier: BSD-3-Clause

import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { InterruptedError } from '../lab/errors.ts';
import { makeRunDirectory } from '../lab/test-run/run-directory.ts';
import { RecordedTimes, seriesOf } from '../lab/test-run/times.ts';
import { exitCodeOf, type RunReport, type TestOutcome } from '../lab/test-run/verdict.ts';
import { fakeContext } from '../lab/testing/fake-context.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { readJournal } from './journal.ts';
import { FakeGuest } from './testing/fake-guest.ts';
import { alike, forever, passAll, play, runOn, statuses, three } from './testing/played-run.ts';

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
    await vi.waitUntil(
      () => guest.commands.some((command) => command.includes('generic/001') && command[1]?.includes('pack')),
      { timeout: 60_000, interval: 5 },
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
  const root = await scratchDirectory();
  await using guest = await FakeGuest.create(async (it, tests) => {
    for (const name of tests) it.pass(name);
    it.finish();
    return 0;
  });
  guest.kmemleak = true;
  guest.leaksLeft =
    'unreferenced object 0x1 (size 8):\nTests since the scan before: generic/001 generic/002\n';
  const { report, directory } = await runOn(guest, fakeContext(root), { root });
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
  const root = await scratchDirectory();
  const context = fakeContext(root);
  await using guest = await FakeGuest.create(async (played) => {
    played.pass('generic/001');
    played.start('generic/002');
    context.abort.abort(new InterruptedError());
    return forever;
  });
  await expect(runOn(guest, context, { root })).rejects.toThrow(InterruptedError);
  expect(guest.commands.at(-1)).toEqual(expect.arrayContaining(['all']));
  const [run] = await readdir(join(root, 'results'));
  const report = JSON.parse(
    await readFile(join(root, 'results', run ?? '', 'report.json'), 'utf8'),
  ) as RunReport;
  expect(statuses(report)).toEqual({ 'generic/001': 'passed' });
  expect(report.verdict).toBe('incomplete');
});

test('half a line at the end of a journal is the test that has no verdict', async () => {
  const root = await scratchDirectory();
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
  const root = await scratchDirectory();
  await play(
    async (guest) => {
      guest.pass('generic/001');
      guest.notrun('generic/002', 'no such thing here');
      guest.finish();
      return 0;
    },
    { root },
  );
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
  const root = await scratchDirectory();
  await writeFile(join(root, 'times.json'), '{"zpmfs": {"generic/002": 2}}');
  await play(passAll, { root, flavour: 'debug' });
  const times = await RecordedTimes.load(join(root, 'times.json'), alike);
  expect(three.map((test) => times.of('zpmfs', test))).toEqual([undefined, 2, undefined]);
  const took = three.map((test) => times.of(seriesOf('zpmfs', 'debug'), test));
  expect(took).toEqual(three.map(() => expect.any(Number)));
});

test('how long a run will take and how far it is goes by the time of the tests that it has to do', async () => {
  const root = await scratchDirectory();
  await writeFile(
    join(root, 'times.json'),
    '{"zpmfs": {"generic/001": 9, "generic/002": 1, "generic/003": 90}}',
  );
  const settled: TestOutcome = { name: 'generic/003', status: 'passed', seconds: 90, reason: '' };
  const { context } = await play(passAll, { root, settled: [settled] });
  expect(context.fractions).toEqual([0.9, 1]);
  expect(context.expectations).toEqual([10_000]);
});

test('a damaged file of times is a run without estimates', async () => {
  const root = await scratchDirectory();
  await writeFile(join(root, 'times.json'), '{"zpmfs": 3}');
  expect(
    (await RecordedTimes.load(join(root, 'times.json'), alike)).of('zpmfs', 'generic/001'),
  ).toBeUndefined();
});

test('two runs in one second get two directories', async () => {
  const root = await scratchDirectory();
  const now = new Date('2026-01-02T03:04:05.678Z');
  const first = await makeRunDirectory(join(root, 'results'), 'zpmfs', now);
  const second = await makeRunDirectory(join(root, 'results'), 'zpmfs', now);
  expect(first.run).toBe('20260102-030405-zpmfs');
  expect(second.run).not.toBe(first.run);
  expect((await stat(second.directory)).isDirectory()).toBe(true);
});
