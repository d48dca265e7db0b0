// SPDX-License-Identifier: BSD-3-Clause

/** A run that was ended, or that the lab failed, and what is left to do when it is gone on with. */

import { appendFile, cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { InterruptedError } from '../lab/errors.ts';
import { fakeContext } from '../lab/testing/fake-context.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { Journal, readJournal } from './journal.ts';
import { FakeGuest, type PlayedCheck } from './testing/fake-guest.ts';
import { forever, passAll, play, runOn, statuses, three } from './testing/played-run.ts';

/** Goes on with the run in `directory`: its report, and the tests that ran. */
async function resume(directory: string, check: PlayedCheck = passAll) {
  const asked: string[] = [];
  const { report } = await play(
    async (guest, tests, signal) => {
      asked.push(...tests);
      return await check(guest, tests, signal);
    },
    { resume: directory },
  );
  return { report, asked };
}

test('passes that were printed and not recorded run again', async () => {
  const { report, directory } = await play(async (guest) => {
    for (const name of three) guest.print(`${name}        1s\n`);
    return 0;
  });
  expect(report).toMatchObject({ verdict: 'incomplete', missing: three });
  const resumed = await resume(directory);
  expect(resumed.asked).toEqual(three);
  expect(resumed.report).toMatchObject({ verdict: 'passed', problems: [] });
});

test('so does one that is missing in what was recorded of the others', async () => {
  const { report, directory } = await play(async (guest) => {
    guest.pass('generic/001');
    guest.pass('generic/002');
    guest.print('generic/003        1s\n');
    guest.finish();
    return 0;
  });
  expect(report).toMatchObject({ verdict: 'incomplete', missing: ['generic/003'], problems: [] });
  expect((await resume(directory)).asked).toEqual(['generic/003']);
});

test('when results could not be fetched, what did not fail runs again', async () => {
  const { report, directory } = await play(async (guest) => {
    guest.pass('generic/001');
    guest.fail('generic/002');
    guest.notrun('generic/003', 'no quota here');
    guest.finish();
    guest.download = async () => {
      throw new Error('no room');
    };
    return 1;
  });
  expect(report.problems).toContain('The results could not be fetched: no room');
  const resumed = await resume(directory);
  expect(resumed.asked).toEqual(['generic/001', 'generic/003']);
  expect(statuses(resumed.report)).toEqual({
    'generic/001': 'passed',
    'generic/002': 'failed',
    'generic/003': 'passed',
  });
  expect(resumed.report).toMatchObject({ verdict: 'failed', problems: [] });
});

test('what went wrong and was made good in the first part is told at the end', async () => {
  await using second = await FakeGuest.create(async (guest) => {
    guest.print('generic/002        1s\n');
    return 0;
  });
  const { report, directory } = await play(
    async (guest) => {
      guest.pass('generic/001');
      guest.start('generic/003');
      throw new Error('the connection broke');
    },
    { revive: async () => second },
  );
  expect(report.events).toEqual(['The VM was lost (the connection broke); another took the rest.']);
  const resumed = await resume(directory);
  expect(resumed.asked).toEqual(['generic/002']);
  expect(resumed.report.events).toEqual(report.events);
});

/** Passes all, and then has nothing to say for how it ends. */
const endsOddly: PlayedCheck = async (guest, tests, signal) => {
  await passAll(guest, tests, signal);
  return 3;
};

test('passes of a check that ended oddly run again, as long as it does', async () => {
  const { report, directory } = await play(endsOddly);
  expect(report).toMatchObject({ verdict: 'incomplete', missing: [] });
  for (const check of [endsOddly, passAll]) {
    const resumed = await resume(directory, check);
    expect(resumed.asked).toEqual(three);
    expect(resumed.report.verdict).toBe(check === passAll ? 'passed' : 'incomplete');
  }
  expect((await resume(directory)).asked).toEqual([]);
});

test('what an earlier part of the run recorded is no record of a later one', async () => {
  const { directory } = await play(endsOddly);
  const { report } = await resume(directory, async (guest) => {
    for (const name of three) guest.print(`${name}        1s\n`);
    return 0;
  });
  expect(report).toMatchObject({ verdict: 'incomplete', missing: three });
});

test('a problem that no test would answer, since all have failed, is told again', async () => {
  const { report, directory } = await play(async (guest) => {
    for (const name of three) guest.fail(name);
    guest.finish();
    return 3;
  });
  expect(report.problems.join()).toMatch(/check ended with exit code 3/);
  for (const _ of ['once', 'twice']) {
    const resumed = await resume(directory);
    expect(resumed.asked).toEqual([]);
    expect(resumed.report).toMatchObject({ verdict: 'incomplete', problems: report.problems });
  }
});

const oneFails: PlayedCheck = async (guest) => {
  guest.fail('generic/001');
  guest.pass('generic/002');
  guest.pass('generic/003');
  guest.finish();
  return 1;
};

/** A guest whose kernel looks for leaks; `asked` is called before it does so at the end. */
async function withKmemleak(
  check: PlayedCheck,
  asked: () => Promise<void> = async () => undefined,
): Promise<FakeGuest> {
  const guest = await FakeGuest.create(check);
  guest.kmemleak = true;
  const exec = guest.exec.bind(guest);
  guest.exec = async (command, options) => {
    if (command[1]?.endsWith('leaks-left.sh')) await asked();
    return await exec(command, options);
  };
  return guest;
}

test('passes after which kmemleak was not asked run again', async () => {
  const root = await scratchDirectory();
  await using guest = await withKmemleak(oneFails, async () => {
    throw new Error('no answer');
  });
  const { report, directory } = await runOn(guest, fakeContext(root), { root });
  expect(report).toMatchObject({ verdict: 'incomplete', problems: ['kmemleak was not asked: no answer'] });
  const resumed = await resume(directory);
  expect(resumed.asked).toEqual(['generic/002', 'generic/003']);
  expect(resumed.report).toMatchObject({ verdict: 'failed', problems: [] });
});

test('so do those after which it was being asked when the run was interrupted', async () => {
  const root = await scratchDirectory();
  const context = fakeContext(root);
  await using guest = await withKmemleak(oneFails, async () => {
    context.abort.abort(new InterruptedError());
  });
  await expect(runOn(guest, context, { root })).rejects.toThrow(InterruptedError);
  const [run] = await readdir(join(root, 'results'));
  expect((await resume(join(root, 'results', run))).asked).toEqual(['generic/002', 'generic/003']);
});

test('what kmemleak was asked about is not run again', async () => {
  const root = await scratchDirectory();
  await using guest = await withKmemleak(oneFails);
  const { report, directory } = await runOn(guest, fakeContext(root), { root });
  expect(report).toMatchObject({ verdict: 'failed', problems: [] });
  const resumed = await resume(directory);
  expect(resumed.asked).toEqual([]);
  expect(resumed.report).toMatchObject({ verdict: 'failed', tests: report.tests, problems: [] });
});

test('that kmemleak was asked does not answer for a check that ended oddly', async () => {
  const root = await scratchDirectory();
  await using guest = await withKmemleak(endsOddly);
  const { directory } = await runOn(guest, fakeContext(root), { root });
  expect((await resume(directory)).asked).toEqual(three);
});

test('a leak of which only a test without a verdict is known leaves the others in doubt', async () => {
  const root = await scratchDirectory();
  await using guest = await withKmemleak(async (played) => {
    played.pass('generic/001');
    played.pass('generic/002');
    played.finish();
    played.start('generic/003');
    return 0;
  });
  guest.leaksLeft = 'unreferenced object\nTests since the scan before: generic/002 generic/003\n';
  const { report, directory } = await runOn(guest, fakeContext(root), { root });
  expect(report).toMatchObject({ verdict: 'incomplete', missing: ['generic/003'] });
  expect(report.events.join()).toContain('generic/003: kmemleak found something after it');
  expect((await resume(directory)).asked).toEqual(three);
});

test('of a run that is killed before its results are here, what check printed counts', async () => {
  const root = await scratchDirectory();
  const killed = join(root, 'killed');
  await play(
    async (guest) => {
      guest.pass('generic/001');
      guest.fail('generic/002');
      guest.notrun('generic/003', 'no quota here');
      // A failure is known to be one when the next test starts.
      const [run] = await readdir(join(root, 'results'));
      await cp(join(root, 'results', run), killed, { recursive: true });
      guest.finish();
      return 1;
    },
    { root },
  );
  expect((await readFile(join(killed, 'journal.jsonl'), 'utf8')).trim().split('\n')).toHaveLength(3);
  const resumed = await resume(killed);
  expect(resumed.asked).toEqual([]);
  expect(statuses(resumed.report)).toEqual({
    'generic/001': 'passed',
    'generic/002': 'failed',
    'generic/003': 'notrun',
  });
});

test('interrupted while check runs, a run has what was printed: that is not run again', async () => {
  const root = await scratchDirectory();
  const context = fakeContext(root);
  await using guest = await FakeGuest.create(async (played) => {
    played.fail('generic/001');
    played.pass('generic/002');
    played.start('generic/003');
    context.abort.abort(new InterruptedError());
    return forever;
  });
  await expect(runOn(guest, context, { root })).rejects.toThrow(InterruptedError);
  const [run] = await readdir(join(root, 'results'));
  const { report, asked } = await resume(join(root, 'results', run));
  expect(asked).toEqual(['generic/003']);
  expect(statuses(report)).toEqual({
    'generic/001': 'failed',
    'generic/002': 'passed',
    'generic/003': 'passed',
  });
  expect(report.verdict).toBe('failed');
});

test('what follows half a line is not lost with it', async () => {
  const { directory } = await play(async (guest) => {
    guest.print('check: failed to mkfs $SCRATCH_DEV using specified options\n');
    return 1;
  });
  await appendFile(join(directory, 'journal.jsonl'), '{"name":"gener');
  const outcome = { name: 'generic/002', status: 'failed', seconds: 1, reason: 'output mismatch' } as const;
  new Journal(directory).verdict(outcome, 'printed');
  expect((await readJournal(directory)).outcomes).toEqual([outcome]);
});

test('in the journal of an older lab, which tells no stages, the last verdict of a test counts', async () => {
  const { directory } = await play(passAll);
  const verdicts = [
    ['generic/001', 'passed'],
    ['generic/002', 'passed'],
    ['generic/002', 'failed'],
  ] as const;
  const lines = verdicts.map(([name, status]) => JSON.stringify({ name, status, seconds: 1, reason: '' }));
  await writeFile(join(directory, 'journal.jsonl'), lines.join('\n'));
  const { outcomes } = await readJournal(directory);
  expect(outcomes.map(({ name, status }) => [name, status])).toEqual([verdicts[0], verdicts[2]]);
});
