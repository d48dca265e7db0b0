// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import type { LabContext } from '../lab/context.ts';
import { obtainArtefacts } from '../lab/lifecycle.ts';
import { defaultCacheRoot } from '../lab/paths.ts';
import { type JoinedTask, TaskListener } from '../lab/remote/join.ts';
import { RemoteVm } from '../lab/remote/remote-vm.ts';
import type { TaskOrder } from '../lab/remote/task-engine.ts';
import { ProcessEngine } from '../lab/remote/testing/process-engine.ts';
import { HostRuntime } from '../lab/runtime/host.ts';
import type { RunReport } from '../lab/test-run/verdict.ts';
import { testLabContext } from '../lab/testing/lab-context.ts';
import { TestLabs } from '../lab/testing/test-lab.ts';
import { type ElsewhereRequest, runXfstestsElsewhere } from './elsewhere.ts';
import { whyNoTree } from './testing/why-no-tree.ts';
import type { XfstestsResult } from './xfstests.ts';

// Tasks with real VMs, each in a process of its own, and a run that reaches them by nothing but their connections to it.

const smallVm = ['vm.cpus=1', 'vm.nodes=1', 'vm.pmemSize=1G'].flatMap((setting) => ['--set', setting]);

let labs: TestLabs;
let noTree: string | undefined;

beforeAll(async () => {
  labs = await TestLabs.create();
  noTree = await whyNoTree(labs);
  if (noTree === undefined) await labs.build();
});
beforeEach((context) => {
  if (noTree !== undefined) context.skip(noTree);
});
afterAll(() => labs[Symbol.asyncDispose]());

async function coordinator(runtime: HostRuntime): Promise<LabContext> {
  return await testLabContext({
    runtime,
    cacheRoot: defaultCacheRoot(process.env),
    stateDir: join(labs.stateRoot, 'coordinator'),
  });
}

async function run(
  engine: ProcessEngine,
  tests: readonly string[],
  more: Partial<ElsewhereRequest> = {},
): Promise<XfstestsResult> {
  await using runtime = new HostRuntime('coordinator', labs.stateRoot);
  const context = await coordinator(runtime);
  return await runXfstestsElsewhere(
    context,
    { shards: 2, joinTimeout: 300, fileSystem: 'ext4-dax', selection: { tests }, ...more },
    engine,
  );
}

function statuses(report: RunReport): Record<string, string> {
  return Object.fromEntries(report.tests.map(({ name, status }) => [name, status]));
}

/** Wait until the console of a task says that `name` has started, and end it and its VM as a power cut would. */
async function endTaskThatRuns(engine: ProcessEngine, name: string): Promise<string> {
  for (;;) {
    await sleep(200);
    for (const [at, task] of engine.tasks.entries()) {
      const node = `node-${at + 1}`;
      const console = await readFile(join(labs.stateRoot, node, 'vm', 'console.log'), 'utf8').catch(() => '');
      if (!console.includes(`run fstests ${name} at`)) continue;
      task.process.kill('SIGKILL');
      return node;
    }
  }
}

test('two tasks: the verdicts are those of a run here, and what failed and what the consoles said is here; no VM is left', async () => {
  const engine = new ProcessEngine(labs, smallVm);
  const { report, directory } = await run(engine, ['runner/001', 'runner/002', 'runner/003', 'runner/005']);
  expect(statuses(report)).toEqual({
    'runner/001': 'passed',
    'runner/002': 'failed',
    'runner/003': 'notrun',
    'runner/005': 'crashed',
  });
  expect(report).toMatchObject({ verdict: 'failed', problems: [], missing: [] });
  expect(report.nodes?.reduce((sum, { tests }) => sum + tests, 0)).toBe(4);
  expect(await readdir(join(directory, 'runner'))).toContain('002.out.bad');
  expect(await readFile(join(directory, 'runner', '005.console'), 'utf8')).toContain('Kernel panic');
  expect(labs.runningPrograms()).toEqual([]);
});

test('a task that is killed in mid-test: the other one runs that test too, with the same verdict, and the event is told', async () => {
  const engine = new ProcessEngine(labs, smallVm);
  const killed = endTaskThatRuns(engine, 'runner/012');
  const { report } = await run(engine, ['runner/001', 'runner/002', 'runner/012']);
  expect(statuses(report)).toEqual({
    'runner/001': 'passed',
    'runner/002': 'failed',
    'runner/012': 'passed',
  });
  expect(report).toMatchObject({ verdict: 'failed', problems: [], missing: [] });
  expect(report.events).toEqual([`The VM was lost: ${await killed} is gone, or the task on it`]);
  await labs.run('down', '--all');
});

/** A port whose connections lead to another, until they are cut. */
async function cableTo(port: number): Promise<{ readonly port: number; cut(): void }> {
  const ends = new Set<Socket>();
  const server = createServer((one) => {
    const other = connect({ host: '127.0.0.1', port });
    for (const end of [one, other]) ends.add(end.on('error', () => undefined));
    one.pipe(other).pipe(one);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => {
      for (const end of ends) end.resetAndDestroy();
    },
  };
}

test('a task that the run lets go has done its part; one whose link to it is cut: one sentence, exit 2; nothing is left', async () => {
  await using runtime = new HostRuntime('coordinator', labs.stateRoot);
  const artefacts = await obtainArtefacts(await coordinator(runtime));
  const joined: JoinedTask[] = [];
  await using listener = await TaskListener.open({
    at: 'loopback',
    token: 'of the run',
    onJoined: (task) => joined.push(task),
    onRefused: (reason) => expect.unreachable(reason),
  });
  const cable = await cableTo(listener.port);
  const order: TaskOrder = {
    tasks: 2,
    at: { port: cable.port },
    token: 'of the run',
    artefacts,
    deploy: 'nothing',
  };
  const engine = new ProcessEngine(labs, smallVm);
  await using _started = await engine.start(undefined, order);
  await vi.waitUntil(() => joined.length === 2, { timeout: 300_000 });
  const [one, other] = joined.map(({ hello: { task: name }, session }) => {
    const consoleLog = join(labs.stateRoot, `${name}.log`);
    return { name, vm: new RemoteVm({ name, node: name, session, consoleLog }) };
  });
  expect((await one.vm.exec(['true'])).exitCode).toBe(0);
  const taskOf = ({ name }: { readonly name: string }) =>
    engine.tasks[Number(name.slice('node-'.length)) - 1];
  await one.vm[Symbol.asyncDispose]();
  expect((await taskOf(one).end()).code).toBe(0);
  cable.cut();
  const { code, stdout, stderr } = await taskOf(other).end();
  expect(stderr).toContain(`\nzufs-lab: The link to the run at 127.0.0.1:${cable.port} was cut.\n`);
  expect(stderr.match(/^zufs-lab: /gm)).toHaveLength(1);
  expect([code, stdout.toString()]).toEqual([2, '']);
  expect(labs.runningPrograms()).toEqual([]);
});

test('tasks that cannot boot: one sentence, nothing is left', async () => {
  const engine = new ProcessEngine(labs, [...smallVm, '--set', 'vm.bootTimeout=1']);
  await expect(run(engine, ['runner/001'])).rejects.toThrow('Every task has ended.');
  expect(labs.runningPrograms()).toEqual([]);
});
