// SPDX-License-Identifier: BSD-3-Clause

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { repeatsSchema } from '../../bench/report/repeats.ts';
import { whyNoTree } from '../../xfstests-runner/testing/why-no-tree.ts';
import type { NoTestEngine } from '../runtime/testing/engine.ts';
import { taskLines } from '../swarm/logs.ts';
import { RealSwarm } from '../swarm/testing/real-swarm.ts';
import type { RunReport } from '../test-run/verdict.ts';
import { Cli, type CliResult } from '../testing/cli.ts';
import { TestLabs } from '../testing/test-lab.ts';

// Runs in tasks of a swarm of two engines, each on a machine of its own as far as it can see, driven by the command line.

const selfTests = 'runner/001,runner/002,runner/003,runner/012';
/** Those of a run on this machine (selfcheck.integration.test.ts). */
const verdicts = {
  'runner/001': 'passed',
  'runner/002': 'failed',
  'runner/003': 'notrun',
  'runner/012': 'passed',
};

let labs: TestLabs;
let started: RealSwarm | NoTestEngine;
let swarm: RealSwarm;
let noTree: string | undefined;

beforeAll(async () => {
  labs = await TestLabs.create();
  noTree = await whyNoTree(labs);
  if (noTree !== undefined) return;
  await labs.build();
  started = await RealSwarm.start();
});
beforeEach((context) => {
  if (noTree !== undefined) context.skip(noTree);
  if ('skip' in started) return context.skip(started.skip);
  swarm = started;
});
afterAll(async () => {
  await labs[Symbol.asyncDispose]();
  if (started !== undefined && !('skip' in started)) await started[Symbol.asyncDispose]();
});

const settings = [
  ...['vm.cpus=1', 'vm.nodes=1', 'vm.pmemSize=1G'],
  // Room for one task on each node.
  ...[`swarm.cpus=${availableParallelism()}`, 'swarm.memory=1G'],
];

interface Where {
  /** Default: the manager's. */
  readonly engine?: string;
  /** Default: the worker's. */
  readonly engines?: readonly string[];
  readonly set?: readonly string[];
}

/** `zufs-lab xfstests --engine swarm` with two shards, whose tasks have no room on one node. */
function start(where: Where, ...args: readonly string[]): Cli {
  return startCommand(where, 'xfstests', '--shards', '2', '--fs', 'ext4-dax', ...args);
}

function startCommand(where: Where, command: string, ...args: readonly string[]): Cli {
  const { engine = swarm.manager.address, engines = [swarm.worker.address], set = [] } = where;
  const all = [...settings, ...set, ...(engines.length === 0 ? [] : [`swarm.engines=${engines}`])];
  return new Cli(
    [
      ...['--json', '--runtime', 'host', ...all.flatMap((setting) => ['--set', setting])],
      ...[command, '--engine', 'swarm', ...args],
    ],
    { env: { ...labs.env, DOCKER_HOST: engine } },
  );
}

function reportOf({ stdout, stderr }: CliResult): RunReport {
  if (stdout.length === 0) throw new Error(`no report: ${stderr}`);
  return JSON.parse(stdout.toString()) as RunReport;
}

function statuses(report: RunReport): Record<string, string> {
  return Object.fromEntries(report.tests.map(({ name, status }) => [name, status]));
}

/** What runs have in the swarm, by name or kind. Networks and containers of the engines' own do not count. */
async function inSwarm(engine: Docker, ...others: readonly Docker[]): Promise<readonly string[]> {
  const containers = await Promise.all([engine, ...others].map((one) => one.listContainers({ all: true })));
  return [
    ...(await engine.listServices()).map(({ Spec }) => `service ${Spec?.Name}`),
    ...(await engine.listSecrets()).map(() => 'secret'),
    ...(await engine.listNetworks({ filters: { label: ['zufs-lab.run'] } })).map(() => 'network'),
    ...containers.flat().map(({ Names }) => `container ${Names}`),
  ];
}

/** Nothing of any run. An engine lists a network for some seconds more than its swarm has it. */
async function expectNothingLeft(engine: Docker, ...others: readonly Docker[]): Promise<void> {
  await expect.poll(() => inSwarm(engine, ...others), { interval: 500, timeout: 30_000 }).toEqual([]);
}

const inBoth = () => [swarm.manager.docker, swarm.worker.docker] as const;

/** Until the console of the VM on that node says that a test has started there. Rejects when the run ends first. */
async function untilTestRunsOn(node: string, cli: Cli): Promise<void> {
  const tasks = join(labs.stateRoot, 'default', 'tasks');
  await cli.says(new RegExp(`^${node} joined`, 'm'));
  // Those of the runs before have gone with their processes.
  const [run] = await readdir(tasks);
  // The first task that joins is the first shard's, and its console has that number.
  const names = [...cli.stderr.matchAll(/^(\S+) joined/gm)].map(([, name]) => name);
  const file = join(tasks, run, `console-${names.indexOf(node) + 1}-task.log`);
  // It is made with the first that comes.
  while (!(await readFile(file, 'utf8').catch(() => '')).includes('run fstests ')) {
    if (cli.process.exitCode !== null) throw new Error(`no test ran on ${node}:\n${cli.stderr}`);
    await sleep(100);
  }
}

/** How a task of the run on the worker ends that has another token, and what it says. */
async function taskWithWrongToken(): Promise<{ readonly code: number | undefined; readonly said: string }> {
  const { docker } = swarm.manager;
  const services = await docker.listServices();
  const { Labels: labels = {}, TaskTemplate: template } = services.flatMap(({ Spec }) =>
    Spec?.Mode?.ReplicatedJob === undefined ? [] : Spec,
  )[0];
  const { ContainerSpec: container } = template as unknown as { readonly ContainerSpec: ContainerSpec };
  const name = 'of-another-run';
  const { id } = (await docker.createSecret({
    ...{ Name: name, Labels: labels },
    Data: Buffer.from('another').toString('base64'),
  })) as { readonly id: string };
  const service = await docker.createService({
    ...{ Name: name, Labels: labels },
    Mode: { ReplicatedJob: { TotalCompletions: 1, MaxConcurrent: 1 } },
    TaskTemplate: {
      ...template,
      ContainerSpec: { ...container, Secrets: [{ ...container.Secrets[0], SecretID: id, SecretName: name }] },
      Placement: { Constraints: ['node.hostname==node-b'] },
      RestartPolicy: { Condition: 'none' },
    },
  });
  const ended = async () => {
    const [task] = (await docker.listTasks({ filters: { service: [service.id] } })) as readonly ApiTask[];
    return task?.Status.State === 'failed' ? task.Status.ContainerStatus : undefined;
  };
  const { ExitCode: code } = await vi.waitUntil(ended, { timeout: 60_000, interval: 300 });
  const said: string[] = [];
  const { signal } = new AbortController();
  for await (const { text } of taskLines(docker, service.id, { follow: false, signal })) said.push(text);
  await service.remove();
  await docker.getSecret(id).remove();
  return { code, said: said.join('\n') };
}

/** As the engine's API has them. */
interface ContainerSpec {
  readonly Secrets: readonly Record<string, unknown>[];
}
interface ApiTask {
  readonly Status: { readonly State: string; readonly ContainerStatus?: { readonly ExitCode?: number } };
}

test.each<[string, () => Promise<Where>, () => string]>([
  [
    'an engine in no swarm',
    async () => ({ engine: (await swarm.startLone()).address, engines: [] }),
    () => `The engine at ${swarm.lone?.address} is in no swarm.`,
  ],
  [
    'a node of another architecture',
    async () => {
      const { docker, address } = await swarm.startLone();
      await docker.swarmInit({ AdvertiseAddr: '127.0.0.1', ListenAddr: '127.0.0.1:2377' });
      return { engine: address, engines: [] };
    },
    () => 'No node of the swarm can take a task: node-c is i686, and the image x86_64.',
  ],
  [
    'a worker',
    async () => ({ engine: swarm.worker.address, engines: [] }),
    () => `The engine at ${swarm.worker.address} is a worker of its swarm, and only managers start services.`,
  ],
  [
    'a node that the image cannot be brought to',
    async () => ({ engines: [] }),
    () => 'The image of the tasks cannot be brought to node-b.',
  ],
  [
    'an engine that is not there',
    async () => ({ engines: ['unix:///nowhere/docker.sock'] }),
    () => 'The image of the tasks cannot be brought to node-b.',
  ],
  ['nodes without room', async () => ({ set: ['swarm.memory=1024T'] }), () => 'and a task asks for'],
])('%s: one sentence, exit 2, nothing is left', async (_, where, sentence) => {
  const { code, stdout, stderr } = await start(await where(), '--tests', selfTests).end();
  expect(stderr).toContain(sentence());
  expect(stderr.match(/^zufs-lab: .*/gm)).toHaveLength(1);
  expect([code, stdout.toString()]).toEqual([2, '']);
  await expectNothingLeft(...inBoth());
  if (swarm.lone !== undefined) expect(await swarm.lone.docker.listContainers({ all: true })).toEqual([]);
});

test('the verdicts are those of a run here, with a line for each node; another token is refused; nothing is left', async () => {
  const cli = start({}, '--tests', selfTests);
  await cli.says(/^node-[ab] joined/m);
  expect(await taskWithWrongToken()).toEqual({
    code: 2,
    said: 'zufs-lab: The run did not let this task in: Its token is not that of the run.',
  });
  const result = await cli.end();
  const report = reportOf(result);
  expect(statuses(report)).toEqual(verdicts);
  expect(report).toMatchObject({ verdict: 'failed', problems: [], missing: [], events: [] });
  expect(report.nodes?.map(({ node }) => node).sort()).toEqual(['node-a (TCG)', 'node-b (TCG)']);
  expect(report.nodes?.reduce((sum, { tests }) => sum + tests, 0)).toBe(4);
  expect(result.stderr).toContain('was refused: Its token is not that of the run.');
  expect(result.code).toBe(1);
  await expectNothingLeft(...inBoth());
});

test('Ctrl-C in mid-test: exit 130, and nothing is left', async () => {
  const cli = start({}, '--tests', selfTests);
  await untilTestRunsOn('node-b', cli);
  cli.process.kill('SIGINT');
  const { code, stderr } = await cli.end();
  expect(stderr).toMatch(/Interrupted/);
  expect(code).toBe(130);
  await expectNothingLeft(...inBoth());
});

test('a run in the swarm: on a network without a way out, with no port open; swarm status names it, swarm stop ends it', async () => {
  const { docker } = swarm.manager;
  const cli = start({}, '--tests', selfTests);
  await untilTestRunsOn('node-a', cli);
  const [network] = await docker.listNetworks({ filters: { label: ['zufs-lab.run'] } });
  expect(network).toMatchObject({ Driver: 'overlay', Internal: true });
  const services = await docker.listServices();
  expect(services).toHaveLength(2);
  for (const { Endpoint } of services) expect(Endpoint?.Ports ?? []).toEqual([]);
  const env = { ...labs.env, DOCKER_HOST: swarm.manager.address };
  const status = await new Cli(['--json', 'swarm', 'status'], { env }).end();
  const [{ run, owner, tasks }] = (JSON.parse(status.stdout.toString()) as SwarmStatus).runs;
  expect(owner).toBe('alive');
  expect(tasks.map(({ node }) => node).sort()).toEqual(['node-a', 'node-b']);
  expect((await new Cli(['swarm', 'stop', run], { env }).end()).code).toBe(0);
  const result = await cli.end();
  const report = reportOf(result);
  expect(report.verdict).toBe('incomplete');
  // One for each of the VMs.
  expect(report.problems).toHaveLength(2);
  for (const problem of report.problems) expect(problem).toMatch(/ The run was stopped\.$/);
  expect(result.code).toBe(2);
  await expectNothingLeft(...inBoth());
});

interface SwarmStatus {
  readonly runs: readonly {
    readonly run: string;
    readonly owner: string;
    readonly tasks: readonly { readonly node: string }[];
  }[];
}

test('zufs-lab is killed: what it left goes; started again with --resume it goes on', async () => {
  const onZpmfs = (...args: readonly string[]) =>
    startCommand({}, 'xfstests', '--shards', '2', '--fs', 'zpmfs', ...args);
  const killed = onZpmfs('--tests', selfTests);
  const verdict = /^ *runner\/\d+ +(passed|failed|notrun)/gm;
  await killed.says(new RegExp(verdict, 'm'));
  killed.process.kill('SIGKILL');
  const before = (await killed.end()).stderr.match(verdict)?.length ?? 0;
  await expectNothingLeft(...inBoth());
  const result = await onZpmfs('--resume').end();
  const report = reportOf(result);
  expect(statuses(report)).toEqual(verdicts);
  expect(report).toMatchObject({ verdict: 'failed', problems: [], missing: [] });
  // Those that had a verdict did not run again.
  expect(result.stderr.match(verdict)).toHaveLength(4 - before);
  await expectNothingLeft(...inBoth());
});

test('workloads: one on each node, of which one loses its VM and is checked after; the report is as here, with the node of each', async () => {
  const words = ['--short', '--time', '4', '--only', 'sqlite,fio', '--shards', '2'];
  const result = await startCommand({}, 'workloads', ...words).end();
  const report = reportOf(result);
  expect(report).toMatchObject({ suite: 'workloads', problems: [], missing: [], events: [] });
  expect(report.tests.map(({ name, status, reason }) => [name, status, reason])).toEqual([
    ['sqlite', 'passed', ''],
    ['fio', 'passed', ''],
  ]);
  expect(report.tests.map(({ node }) => node).sort()).toEqual(['node-a (TCG)', 'node-b (TCG)']);
  expect(result.code).toBe(0);
  await expectNothingLeft(...inBoth());
});

/** Of the smoke matrix what needs no program of others. */
const smallMatrix = {
  about: 'of a test',
  ...{ rounds: 2, warmUp: 0.1, seconds: 0.3 },
  parts: [
    {
      machine: { cpus: 1, nodes: 1, pmemSize: '512M' },
      ...{ filesystems: ['ext4-dax', 'zpmfs-copies'], workloads: ['create'], threads: [1] },
    },
  ],
  ratios: [{ about: 'creating, over ext4', workload: 'create', of: 'zpmfs-copies', over: ['ext4-dax'] }],
};

test('bench --repeat: a run on each node, of its own, and their ratios beside each other', async () => {
  const matrix = join(labs.stateRoot, 'small.yaml');
  await writeFile(matrix, JSON.stringify(smallMatrix));
  const result = await startCommand({}, 'bench', '--repeat', '2', '--matrix', matrix).end();
  if (result.stdout.length === 0) throw new Error(result.stderr);
  const { runs, ratios, missing } = repeatsSchema.parse(JSON.parse(result.stdout.toString()));
  expect(missing).toEqual([]);
  expect(runs.map(({ node }) => node).sort()).toEqual(['node-a (TCG)', 'node-b (TCG)']);
  expect(runs).toEqual(runs.map((run) => ({ ...run, failures: 0, incomplete: false, accelerator: 'tcg' })));
  // QEMU is a process of the task's own container.
  for (const { pinned } of runs) expect(pinned).toMatch(/^each to a CPU of the host: \d+$/);
  expect(ratios).toEqual([expect.objectContaining({ of: 'zpmfs-copies', threads: 1 })]);
  for (const ratio of ratios[0].each) expect(ratio).toBeGreaterThan(0);
  expect(result.code).toBe(0);
  await expectNothingLeft(...inBoth());
});

test('a machine goes in mid-test: the run completes on the other with the same verdicts, and tells of it', async () => {
  const cli = start({}, '--tests', selfTests);
  await untilTestRunsOn('node-b', cli);
  await swarm.worker.machine[Symbol.asyncDispose]();
  const result = await cli.end();
  const report = reportOf(result);
  expect(statuses(report)).toEqual(verdicts);
  expect(report).toMatchObject({ verdict: 'failed', problems: [], missing: [] });
  expect(report.events).toEqual(['The VM was lost: node-b is gone, or the task on it']);
  await expectNothingLeft(swarm.manager.docker);
});
