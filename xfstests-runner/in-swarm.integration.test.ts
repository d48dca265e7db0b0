// SPDX-License-Identifier: BSD-3-Clause

import { readFile, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { protocolVersion } from '../lab/remote/hello.ts';
import type { NoTestEngine } from '../lab/runtime/testing/engine.ts';
import { inImage } from '../lab/swarm/image.ts';
import { RealSwarm } from '../lab/swarm/testing/real-swarm.ts';
import { Cli, type CliResult } from '../lab/testing/cli.ts';
import { TestLabs } from '../lab/testing/test-lab.ts';
import { whyNoTree } from './testing/why-no-tree.ts';
import type { RunReport } from './verdict.ts';

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
  if (noTree === undefined) started = await RealSwarm.start();
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
  const { engine = swarm.manager.address, engines = [swarm.worker.address], set = [] } = where;
  const all = [...settings, ...set, ...(engines.length === 0 ? [] : [`swarm.engines=${engines}`])];
  return new Cli(
    [
      ...['--json', '--runtime', 'host', ...all.flatMap((setting) => ['--set', setting])],
      ...['xfstests', '--engine', 'swarm', '--shards', '2', '--fs', 'ext4-dax', ...args],
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
  const consoles = join(labs.stateRoot, 'default', 'tasks');
  await cli.says(new RegExp(`^${node} joined`, 'm'));
  // The first task that joins is the first shard's, and its console has that number.
  const names = [...cli.stderr.matchAll(/^(\S+) joined/gm)].map(([, name]) => name);
  const file = join(consoles, `console-${names.indexOf(node) + 1}-task.log`);
  // It is made with the first that comes.
  while (!(await readFile(file, 'utf8').catch(() => '')).includes('run fstests ')) {
    if (cli.process.exitCode !== null) throw new Error(`no test ran on ${node}:\n${cli.stderr}`);
    await sleep(100);
  }
}

/** What a task on the worker that has another token is told. */
async function joinWithWrongToken(): Promise<string> {
  const [service] = await swarm.manager.docker.listServices();
  const { Name: network = '', TaskTemplate: template } = service.Spec ?? {};
  const hello = {
    ...{ protocol: protocolVersion, token: 'another', task: 'stranger', node: 'node-b', architecture: 'x64' },
    machine: { kernel: '', flavour: 'release', image: '', accelerator: 'tcg', cpus: 1 },
    ...{ guest: { kernel: '', server: '' }, bootSeconds: 0, devices: { test: [], scratch: [] } },
  };
  const script = `
    import { joinRun } from '${inImage.package}/lab/remote/join.ts';
    const joined = joinRun({ host: 'gateway', port: 4000 }, ${JSON.stringify(hello)});
    joined.then(() => console.log('It is let in.'), ({ message }) => console.log(message));`;
  const container = await swarm.worker.docker.createContainer({
    Image: (template as { readonly ContainerSpec: { readonly Image: string } }).ContainerSpec.Image,
    Cmd: ['--input-type=module', '--eval', script],
    // Its output is plain then.
    Tty: true,
    HostConfig: { NetworkMode: network },
  });
  await container.start();
  await container.wait();
  const said = await container.logs({ stdout: true, stderr: true });
  await container.remove();
  return said.toString().trim();
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
    () =>
      'The engine at unix:///nowhere/docker.sock (swarm.engines) does not answer, so its node cannot get the image.',
  ],
  ['nodes without room', async () => ({ set: ['swarm.memory=1024T'] }), () => 'and a task asks for'],
])('%s: one sentence, exit 2, nothing is left', async (_, where, sentence) => {
  const { code, stdout, stderr } = await start(await where(), '--tests', selfTests).end();
  expect(stderr).toContain(sentence());
  expect(stderr.match(/^zufs-lab: .*/gm)).toHaveLength(1);
  expect([code, stdout.toString()]).toEqual([2, '']);
  await expectNothingLeft(...inBoth());
});

test('the verdicts are those of a run here, with a line for each node; another token is refused; nothing is left', async () => {
  const cli = start({}, '--tests', selfTests);
  await cli.says(/^node-[ab] joined/m);
  expect(await joinWithWrongToken()).toBe(
    'The run did not let this task in: Its token is not that of the run.',
  );
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

test('zufs-lab is killed and started again with --resume: it goes on, and what the killed one left goes', async () => {
  const killed = start({}, '--tests', selfTests);
  const verdict = /^ *runner\/\d+ +(passed|failed|notrun)/gm;
  await killed.says(new RegExp(verdict, 'm'));
  killed.process.kill('SIGKILL');
  const before = (await killed.end()).stderr.match(verdict)?.length ?? 0;
  expect(await inSwarm(...inBoth())).toContain('secret');
  const result = await start({}, '--resume').end();
  const report = reportOf(result);
  expect(statuses(report)).toEqual(verdicts);
  expect(report).toMatchObject({ verdict: 'failed', problems: [], missing: [] });
  // Those that had a verdict did not run again.
  expect(result.stderr.match(verdict)).toHaveLength(4 - before);
  expect(result.stderr).toMatch(/^Removed \d+ things that a killed run had left in the swarm/m);
  await expectNothingLeft(...inBoth());
});

test('a machine goes in mid-test: the run completes on the other with the same verdicts, and tells of it', async () => {
  // Of the runs before.
  await rm(join(labs.stateRoot, 'default', 'tasks'), { recursive: true, force: true });
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
