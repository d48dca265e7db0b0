// SPDX-License-Identifier: BSD-3-Clause

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { InterruptedError, LabError } from '../lab/errors.ts';
import { packageRoot } from '../lab/paths.ts';
import { protocolVersion } from '../lab/remote/hello.ts';
import { joinRun, TaskListener } from '../lab/remote/join.ts';
import { serveVm } from '../lab/remote/serve-vm.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { fileSystemProfile } from './filesystems.ts';
import { RemoteShards } from './remote-shards.ts';
import { markdownSummary } from './report/summary.ts';
import { makeRunDirectory, runTests } from './run.ts';
import { fakeContext, noProvenance } from './testing/context.ts';
import { FakeGuest, type PlayedCheck } from './testing/fake-guest.ts';
import { RecordedTimes } from './times.ts';
import type { RunReport } from './verdict.ts';

const six = [1, 2, 3, 4, 5, 6].map((number) => `generic/00${number}`);
const never = new Promise<never>(() => undefined);
const host = '127.0.0.1';
const token = 'of this run';

/** Fails generic/002 and passes all else. */
const mostlyPasses: PlayedCheck = async (guest, tests) => {
  for (const name of tests) {
    if (name === 'generic/002') guest.fail(name);
    else guest.pass(name);
  }
  guest.finish();
  return tests.includes('generic/002') ? 1 : 0;
};

/** A task with a VM that plays `check`, which joins the run; gives what ends it, as when its machine goes. */
async function task(port: number, node: string, guest: FakeGuest, another = guest): Promise<() => void> {
  const socket = await joinRun(
    { host, port },
    {
      protocol: protocolVersion,
      token,
      task: node,
      node,
      architecture: 'x64',
      machine: { kernel: 'k', flavour: 'release', image: 'i', accelerator: 'tcg', cpus: 1 },
      bootSeconds: 1,
      devices: { test: ['/dev/pmem0'], scratch: ['/dev/pmem1'] },
    },
  );
  const session = serveVm(socket, {
    vm: guest,
    revive: async () => another,
    scratch: await scratchDirectory(),
    progress: fakeContext('/nowhere').progress,
  });
  // Once the run has what was printed before.
  return () => void session.ping(() => session.ping(() => socket.destroy()));
}

interface Played {
  readonly port: number;
  readonly shards: RemoteShards;
  /** Starts the run. */
  run(signal?: AbortSignal): Promise<RunReport>;
  readonly directory: string;
}

/** A run of two shards that waits for tasks. */
async function played(): Promise<Played> {
  const root = await scratchDirectory();
  const { run, directory } = await makeRunDirectory(join(root, 'results'), 'zpmfs', new Date());
  const shards = new RemoteShards(2, directory);
  const listener = await TaskListener.open({
    at: 'loopback',
    token,
    onJoined: (joined) => shards.join(joined),
    onRefused: (reason) => expect.fail(reason),
  });
  onTestFinished(async () => {
    await shards[Symbol.asyncDispose]();
    await listener[Symbol.asyncDispose]();
  });
  const options = {
    vms: shards.vms,
    bundle: { key: 'abc', file: join(packageRoot, 'package.json') },
    tests: six,
    fileSystem: fileSystemProfile('zpmfs', packageRoot),
    mounts: { test: '/mnt/test', scratch: '/mnt/scratch' },
    testTimeout: 60,
    directory,
    run,
    provenance: noProvenance,
    times: await RecordedTimes.load(join(root, 'times.json'), { others: 1, tests: {} }),
    timing: { tick: 5, health: 50, collect: 60_000, idle: 60_000, fetch: 60_000 },
  };
  return {
    port: listener.port,
    shards,
    directory,
    run: (signal) => {
      const context = fakeContext(root);
      return runTests(options, signal === undefined ? context : { ...context, signal });
    },
  };
}

const verdicts = ({ tests }: RunReport) => tests.map(({ name, status }) => [name, status]);
const expected = six.map((name) => [name, name === 'generic/002' ? 'failed' : 'passed']);

test('two tasks run the tests; the verdict is as on one machine, with a line for each node, and files and console come here', async () => {
  const { port, run, directory } = await played();
  for (const node of ['node-a', 'node-b']) await task(port, node, await FakeGuest.create(mostlyPasses));
  const report = await run();
  expect(verdicts(report)).toEqual(expected);
  expect(report).toMatchObject({ verdict: 'failed', problems: [], events: [], shards: 2 });
  expect(report.nodes?.map(({ node }) => node).sort()).toEqual(['node-a (TCG)', 'node-b (TCG)']);
  expect(report.nodes?.reduce((sum, { tests }) => sum + tests, 0)).toBe(6);
  expect(markdownSummary(report)).toMatch(/^- node-a \(TCG\): \d tests, \d+ s$/m);
  expect(await readFile(join(directory, 'generic/002.out.bad'), 'utf8')).toContain('instead');
  const log = (await readdir(directory)).find((name) => name.endsWith('-node-a.log')) ?? '';
  expect(await readFile(join(directory, log), 'utf8')).toContain('Linux version');
});

test('a node that goes in mid-test: its tests run on the other, the verdict is the same, the event is told', async () => {
  const { port, run } = await played();
  const inTest = Promise.withResolvers<void>();
  const dying = await FakeGuest.create(async (guest, tests) => {
    guest.start(tests[0] ?? '');
    inTest.resolve();
    return never;
  });
  await task(port, 'node-a', await FakeGuest.create(mostlyPasses));
  const killB = await task(port, 'node-b', dying);
  void inTest.promise.then(killB);
  const report = await run();
  expect(verdicts(report)).toEqual(expected);
  expect(report).toMatchObject({ verdict: 'failed', problems: [], missing: [] });
  expect(report.events).toEqual(['The VM was lost: node-b is gone, or the task on it']);
});

test('a test in which two nodes go has crashed, and is not run a third time', async () => {
  const { port, run } = await played();
  const killers = new Map<string, () => void>();
  const dies = (node: string): Promise<FakeGuest> =>
    FakeGuest.create(async (guest, tests, signal) => {
      if (!tests.includes('generic/005')) return mostlyPasses(guest, tests, signal);
      guest.start('generic/005');
      killers.get(node)?.();
      return never;
    });
  for (const node of ['node-a', 'node-b', 'node-c']) {
    killers.set(node, await task(port, node, await dies(node)));
  }
  const report = await run();
  expect(verdicts(report)).toContainEqual(['generic/005', 'crashed']);
  expect(report.tests).toHaveLength(6);
  expect(report.missing).toEqual([]);
});

test('a VM that is lost on a node that lives is replaced there', async () => {
  const { port, run } = await played();
  const first = await FakeGuest.create(async (guest, tests) => {
    guest.start(tests[0] ?? '');
    guest.state = { state: 'qemu-ended', code: null, consoleTail: '' };
    return never;
  });
  await task(port, 'node-a', first, await FakeGuest.create(mostlyPasses));
  const report = await run();
  expect(verdicts(report)).toEqual(expected);
  expect(report.events.join()).toMatch(/QEMU ended .*another took the rest, and generic\/\d+ once more/);
});

test('one that joins late takes part; one that never does is not waited for', async () => {
  const { port, run } = await played();
  const running = run();
  await task(port, 'node-a', await FakeGuest.create(mostlyPasses));
  const report = await running;
  expect(verdicts(report)).toEqual(expected);
  expect(report.nodes).toHaveLength(1);
});

test('no task at all: when they are given up, the run ends without verdicts, with the reason', async () => {
  const { shards, run } = await played();
  const running = run();
  shards.giveUp(new LabError('No task came.'));
  const report = await running;
  expect(report.verdict).toBe('incomplete');
  expect(report.missing).toEqual(six);
  expect(report.problems).toEqual(['shard1: No task came.', 'shard2: No task came.']);
});

test('interrupted while it waits for tasks, a run ends', async () => {
  const { run } = await played();
  await expect(run(AbortSignal.timeout(50))).rejects.toThrow(InterruptedError);
});
