// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { InterruptedError, LabError } from '../lab/errors.ts';
import { packageRoot } from '../lab/paths.ts';
import { TaskListener } from '../lab/remote/join.ts';
import { TaskVms } from '../lab/remote/task-vms.ts';
import { joinPlayed, type PlayedTask, type PlayedTaskOrder } from '../lab/remote/testing/played-tasks.ts';
import { markdownSummary } from '../lab/test-run/report/summary.ts';
import { makeRunDirectory } from '../lab/test-run/run-directory.ts';
import { noProvenance } from '../lab/test-run/testing/provenance.ts';
import { RecordedTimes } from '../lab/test-run/times.ts';
import type { RunReport, TestOutcome } from '../lab/test-run/verdict.ts';
import { fakeContext } from '../lab/testing/fake-context.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { fileSystemProfile } from './filesystems.ts';
import { readJournal } from './journal.ts';
import { runTests } from './run.ts';
import { FakeGuest, type PlayedCheck } from './testing/fake-guest.ts';

const six = [1, 2, 3, 4, 5, 6].map((number) => `generic/00${number}`);
const never = new Promise<never>(() => undefined);
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

/** A task with a VM that plays `check`, which joins the run. */
async function task(
  port: number,
  node: string,
  vm: Vm,
  more: Omit<PlayedTaskOrder, 'node' | 'vm'> = {},
): Promise<PlayedTask> {
  return await joinPlayed({ port, token }, { node, vm, ...more });
}

interface Played {
  readonly port: number;
  readonly shards: TaskVms;
  /** Starts the run. */
  run(signal?: AbortSignal, settled?: readonly TestOutcome[]): Promise<RunReport>;
  readonly directory: string;
}

/** A run that waits for tasks. */
async function played(count = 2): Promise<Played> {
  const root = await scratchDirectory();
  const { run, directory } = await makeRunDirectory(join(root, 'results'), 'zpmfs', new Date());
  const shards = new TaskVms(count, directory);
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
    vms: shards.all,
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
    run: (signal, settled = []) => {
      const context = fakeContext(root);
      return runTests({ ...options, settled }, signal === undefined ? context : { ...context, signal });
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
  const lost = await task(port, 'node-b', dying);
  void inTest.promise.then(lost.end);
  const report = await run();
  expect(verdicts(report)).toEqual(expected);
  expect(report).toMatchObject({ verdict: 'failed', problems: [], missing: [] });
  expect(report.events).toEqual(['The VM was lost: node-b is gone, or the task on it']);
});

test('a node that its engine says is lost is not waited for, though its connection stands', async () => {
  const { port, run, shards } = await played();
  const silent = await FakeGuest.create(async (guest, tests) => {
    guest.start(tests[0] ?? '');
    shards.loseNode('node-b');
    return never;
  });
  await task(port, 'node-a', await FakeGuest.create(mostlyPasses));
  await task(port, 'node-b', silent);
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
    killers.set(node, (await task(port, node, await dies(node))).end);
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
  const second = await FakeGuest.create(mostlyPasses);
  await task(port, 'node-a', first, { revive: async () => second });
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

/** A guest in which the first test goes on for ever, and when it has begun. */
async function stuck(): Promise<{ readonly guest: FakeGuest; readonly inTest: Promise<void> }> {
  const { promise: inTest, resolve } = Promise.withResolvers<void>();
  const guest = await FakeGuest.create(async (played, tests) => {
    played.start(tests[0] ?? '');
    resolve();
    return never;
  });
  return { guest, inTest };
}

/** A guest whose QEMU ends in its first test. */
async function ending(): Promise<FakeGuest> {
  return await FakeGuest.create(async (guest, tests) => {
    guest.start(tests[0] ?? '');
    guest.state = { state: 'qemu-ended', code: null, consoleTail: '' };
    return never;
  });
}

test('both nodes go before another task joins: that one completes the run', async () => {
  const { port, run } = await played();
  for (const node of ['node-a', 'node-b']) {
    const { guest, inTest } = await stuck();
    const { end } = await task(port, node, guest);
    void inTest.then(end);
  }
  const running = run();
  await sleep(300);
  await task(port, 'node-c', await FakeGuest.create(mostlyPasses));
  const report = await running;
  expect(verdicts(report)).toEqual(expected);
  expect(report).toMatchObject({ verdict: 'failed', problems: [], missing: [] });
  expect(report.nodes?.map(({ node }) => node)).toEqual(['node-c (TCG)']);
});

test('a node that goes while its guest is prepared: another takes its place, with devices of its own', async () => {
  const { port, run } = await played(1);
  const guest = await FakeGuest.create(mostlyPasses);
  const first = await task(port, 'node-a', guest);
  guest.upload = async () => {
    first.socket.destroy();
    return never;
  };
  const spare = await FakeGuest.create(mostlyPasses);
  await task(port, 'node-b', spare, { devices: { test: ['/dev/pmem4'], scratch: ['/dev/pmem5'] } });
  const report = await run();
  expect(verdicts(report)).toEqual(expected);
  expect(report).toMatchObject({ problems: [], missing: [] });
  expect(report.events.join()).toContain('The VM was lost (node-a is gone, or the task on it)');
  const formatted = spare.commands.filter(([program]) => program === 'mount').flat();
  expect(formatted).not.toContain('/dev/pmem0');
});

test('a node that lives but can boot no other VM: a spare takes its place, and the task is let go', async () => {
  const { port, run } = await played(1);
  const first = await task(port, 'node-a', await ending(), {
    revive: async () => {
      throw new LabError('There is no room.');
    },
  });
  const closed = once(first.socket, 'close');
  await task(port, 'node-b', await FakeGuest.create(mostlyPasses));
  const report = await run();
  expect(verdicts(report)).toEqual(expected);
  expect(report).toMatchObject({ problems: [], missing: [] });
  await closed;
});

test('a spare whose connection is reset is none any more', async () => {
  const { port, run, shards } = await played(1);
  const { guest, inTest } = await stuck();
  const { end } = await task(port, 'node-a', guest);
  const reset = await task(port, 'node-b', await FakeGuest.create(mostlyPasses));
  reset.socket.resetAndDestroy();
  await expect.poll(() => shards.spares).toBe(0);
  await task(port, 'node-c', await FakeGuest.create(mostlyPasses));
  void inTest.then(end);
  const report = await run();
  expect(verdicts(report)).toEqual(expected);
  expect(report.nodes?.map(({ node }) => node)).toEqual(['node-c (TCG)']);
});

test('when none takes the place of the last one in time, the run ends with the reason; resumed, it is completed', async () => {
  const { port, run, shards, directory } = await played(1);
  const inTest = Promise.withResolvers<void>();
  const guest = await FakeGuest.create(async (dying) => {
    dying.fail('generic/002');
    dying.start('generic/003');
    inTest.resolve();
    return never;
  });
  const { end } = await task(port, 'node-a', guest);
  shards.limit(0.2);
  void inTest.promise.then(end);
  const report = await run();
  expect(report).toMatchObject({ verdict: 'incomplete', counts: { failed: 1 } });
  expect(report.missing).toHaveLength(5);
  expect(report.problems.join()).toContain('No task joined the run within 0.2 s.');

  const { outcomes } = await readJournal(directory);
  expect(outcomes.map(({ name, status }) => [name, status])).toEqual([['generic/002', 'failed']]);
  const again = await played(1);
  await task(again.port, 'node-b', await FakeGuest.create(mostlyPasses));
  const resumed = await again.run(undefined, outcomes);
  expect(verdicts(resumed)).toEqual(expected);
  expect(resumed).toMatchObject({ verdict: 'failed', missing: [] });
  expect(resumed.nodes).toEqual([expect.objectContaining({ node: 'node-b (TCG)', tests: 5 })]);
});

test('interrupted while it waits for another task, a run ends', async () => {
  const { port, run } = await played(1);
  const { guest, inTest } = await stuck();
  const { end } = await task(port, 'node-a', guest);
  const interrupt = new AbortController();
  void inTest.then(async () => {
    end();
    await sleep(200);
    interrupt.abort(new InterruptedError());
  });
  await expect(run(interrupt.signal)).rejects.toThrow(InterruptedError);
});
