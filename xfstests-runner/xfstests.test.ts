// SPDX-License-Identifier: BSD-3-Clause

/** Runs as they are asked for: expunged tests in one that is gone on with. */

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { InterruptedError } from '../lab/errors.ts';
import type { RunReport } from '../lab/test-run/verdict.ts';
import { fakeContext, settings } from '../lab/testing/fake-context.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { FakeGuest } from './testing/fake-guest.ts';
import { forever, passAll, runOn, statuses } from './testing/played-run.ts';
import { runXfstests } from './xfstests.ts';

/** A run with --run-expunged that was interrupted when one test had failed. */
async function interruptedRun(root: string): Promise<string> {
  const context = fakeContext(root);
  await using guest = await FakeGuest.create(async (played) => {
    played.fail('generic/001');
    played.start('generic/002');
    context.abort.abort(new InterruptedError());
    return forever;
  });
  await expect(runOn(guest, context, { root, runExpunged: true })).rejects.toThrow(InterruptedError);
  const [run] = await readdir(join(root, 'results'));
  return join(root, 'results', run);
}

/** Goes on with it where the first two of its three tests are expunged, and all pass. */
async function resume(root: string, directory: string, runExpunged?: boolean): Promise<RunReport> {
  const expunges = join(root, 'expunges.yaml');
  const names = ['generic/001', 'generic/002'];
  const entries = names.map((name) => ({ test: name, reason: 'writes more than there is room for' }));
  await writeFile(expunges, JSON.stringify({ expunges: entries }));
  const context = fakeContext(
    root,
    settings((config) => {
      config.xfstests.expunges = [expunges];
    }),
  );
  await using guest = await FakeGuest.create(passAll);
  const { report } = await runXfstests(context, {
    resume: directory,
    suite: { tree: join(root, 'tree'), bundle: { key: 'abc', file: join(root, 'bundle'), refills: false } },
    ...(runExpunged === undefined ? {} : { runExpunged }),
    vms: [
      {
        vm: guest,
        devices: { test: ['/dev/pmem0'], scratch: ['/dev/pmem1'] },
        state: { kernel: 'k', flavour: 'release', image: 'i', accelerator: 'tcg', cpus: 1 },
        guest: { kernel: '6.12', server: '' },
      },
    ],
  });
  return report;
}

test('a run that was begun with expunged tests goes on with them', async () => {
  const root = await scratchDirectory();
  const report = await resume(root, await interruptedRun(root));
  expect(statuses(report)).toEqual({
    'generic/001': 'failed',
    'generic/002': 'passed',
    'generic/003': 'passed',
  });
  expect(report.events).toEqual(['generic/002 is expunged, but passed: its expunge is not needed.']);
});

/** What a run left that did not write down whether it runs expunged tests. */
async function olderRun(root: string): Promise<string> {
  const directory = await interruptedRun(root);
  const file = join(directory, 'plan.json');
  const { runExpunged, ...plan } = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  expect(runExpunged).toBe(true);
  await writeFile(file, JSON.stringify(plan));
  return directory;
}

test('an expunge does not hide the failure of a test that has run', async () => {
  const root = await scratchDirectory();
  const report = await resume(root, await olderRun(root));
  expect(statuses(report)).toEqual({
    'generic/001': 'failed',
    'generic/002': 'notrun',
    'generic/003': 'passed',
  });
  expect(report.verdict).toBe('failed');
});

test('expunged tests can be taken in when a run is gone on with', async () => {
  const root = await scratchDirectory();
  const report = await resume(root, await olderRun(root), true);
  expect(statuses(report)).toMatchObject({ 'generic/001': 'failed', 'generic/002': 'passed' });
});
