// SPDX-License-Identifier: BSD-3-Clause

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { formatIdentity, identify } from '../runtime/process-identity.ts';
import type { Labels } from '../runtime/runtime.ts';
import { runOwnCli } from '../testing/own-cli.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { parseLine } from './logs.ts';
import { reapRuns } from './reap.ts';
import { runLabels } from './runs.ts';
import { PlayedSwarm } from './testing/played-swarm.ts';

// Each call starts a Node of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

/** Of a run whose process had the same pid, but was started at another time. */
function orphaned(labels: Labels): Labels {
  return { ...labels, 'zufs-lab.owner': (labels['zufs-lab.owner'] ?? '').replace(/:\d+:/, ':1:') };
}

/** A live run, one that was killed, one of another machine, and a service that is none of ours. */
async function fourOwners(): Promise<PlayedSwarm> {
  const live = runLabels('default', 'live');
  return await PlayedSwarm.open({
    live: {
      labels: live,
      tasks: [
        { state: 'failed', error: 'task: non-zero exit (2)' },
        { slot: 1, state: 'running' },
        { state: 'pending' },
      ],
      printed: [
        { task: 0, text: 'first words' },
        { task: 1, text: 'Joined the run at gateway:4000.' },
        { task: 2, text: 'with = and , in it' },
      ],
    },
    orphan: { labels: orphaned(runLabels('default', 'orphan')) },
    elsewhere: { labels: orphaned({ ...runLabels('default', 'elsewhere'), 'zufs-lab.host': 'another' }) },
    foreign: { labels: {} },
  });
}

async function cli(swarm: PlayedSwarm, ...args: readonly string[]) {
  const directory = await scratchDirectory();
  return await runOwnCli(['swarm', ...args], { directory, env: { DOCKER_HOST: `unix://${swarm.socket}` } });
}

const all = (run: string) =>
  ['services', 'gateways', 'exited', 'secrets', 'networks'].map((kind) => `${kind} ${run}`);

test('what a killed run of this machine left goes; that of a live one, of another machine and of others stays', async () => {
  const swarm = await fourOwners();
  expect(await reapRuns(swarm.manager)).toBe(4);
  // The network is in use for a moment more: it goes with the next one.
  expect(swarm.removed).toEqual(all('orphan').slice(0, 4));
  expect(await reapRuns(swarm.manager)).toBe(1);
  expect(swarm.removed).toEqual(all('orphan'));
});

test('of a machine with the same name a run stays, too', async () => {
  const labels = { ...orphaned(runLabels('default', 'elsewhere')), 'zufs-lab.machine': 'another' };
  const swarm = await PlayedSwarm.open({ elsewhere: { labels } });
  expect(await reapRuns(swarm.manager)).toBe(0);
  expect(swarm.removed).toEqual([]);
});

test('what a zufs-lab leaves that is killed goes without another run, and not before', async () => {
  const owner = spawn('sleep', ['1000'], { stdio: 'ignore' });
  onTestFinished(() => void owner.kill());
  const identity = identify(owner.pid ?? 0);
  if (identity === undefined) throw new Error('It did not start.');
  const labels = { ...runLabels('default', 'run'), 'zufs-lab.owner': formatIdentity(identity) };
  const swarm = await PlayedSwarm.open({ run: { labels } });
  const script = join(import.meta.dirname, 'reap-later.ts');
  const env = { ...process.env, DOCKER_HOST: `unix://${swarm.socket}` };
  const reaper = spawn(process.execPath, [script, `${owner.pid}`], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(reaper, 'exit');
  await sleep(1500);
  expect([reaper.exitCode, swarm.removed]).toEqual([null, []]);
  owner.kill('SIGKILL');
  expect(await ended).toEqual([0, null]);
  expect(swarm.removed).toEqual(all('run'));
});

test('swarm status: each run with its owner and its tasks on their nodes', async () => {
  const swarm = await fourOwners();
  const { code, stdout } = await cli(swarm, 'status');
  expect(code).toBe(0);
  // Of a test's labels the owner is the test, which is alive.
  expect(stdout).toMatch(/^live: its zufs-lab runs$/m);
  expect(stdout).toMatch(/^ {2}task 1 +node-a {2}failed, \S+: task: non-zero exit \(2\)$/m);
  expect(stdout).toMatch(/^ {2}task 1 +- {2}pending, \S+$/m);
  expect(stdout).toMatch(/^ {2}task 2 +node-a {2}running, \S+$/m);
  expect(stdout).toMatch(/^orphan: orphan: its zufs-lab is gone$/m);
  expect(stdout).toMatch(/^elsewhere: its zufs-lab is on another machine$/m);
  expect(stdout).not.toContain('foreign');
  const { runs } = JSON.parse((await cli(swarm, 'status', '--json')).stdout) as {
    runs: readonly { readonly run: string }[];
  };
  expect(runs).toContainEqual({
    run: 'elsewhere',
    lab: 'default',
    host: 'another',
    owner: 'elsewhere',
    created: '2026-01-02T03:04:05.000Z',
    tasks: [],
    things: [
      { kind: 'service', id: 'elsewhere' },
      { kind: 'gateway', id: 'elsewhere-gateway' },
      { kind: 'task container', id: 'elsewhere-exited' },
      ...['secret', 'network'].map((kind) => ({ kind, id: 'elsewhere' })),
    ],
  });
});

test('swarm logs: what the tasks of a run printed, of all or of one', async () => {
  const swarm = await fourOwners();
  expect(await cli(swarm, 'logs', 'live')).toMatchObject({
    code: 0,
    stdout: '1 node-a | first words\n2 node-a | Joined the run at gateway:4000.\n1 - | with = and , in it\n',
  });
  expect((await cli(swarm, 'logs', 'live', '--task', '2')).stdout).toBe(
    '2 node-a | Joined the run at gateway:4000.\n',
  );
  expect(await cli(swarm, 'logs', 'live', '--task', '7')).toMatchObject({
    code: 2,
    stderr: 'zufs-lab: The run live has no task 7, but 1, 2.\n',
  });
});

test('a line of the engine itself is of no task', () => {
  expect(parseLine('node n2 is not available')).toEqual({
    task: undefined,
    text: 'node n2 is not available',
  });
});

test.each([
  [['live'], ['live']],
  [['--orphans'], ['orphan']],
  [['--all'], ['live', 'orphan', 'elsewhere']],
])('swarm stop %j: what of it is there goes, in the order that works, and is told', async (args, runs) => {
  const swarm = await fourOwners();
  const { code, stdout } = await cli(swarm, 'stop', ...args);
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout: runs
      .map((run) => `${run}: removed service, gateway, task container, secret, network.\n`)
      .join(''),
  });
  expect(swarm.removed).toEqual(runs.flatMap(all));
});

test('swarm stop of what a run that was killed in between left', async () => {
  const swarm = await PlayedSwarm.open({ half: { labels: runLabels('default', 'half'), has: ['secrets'] } });
  expect((await cli(swarm, 'stop', 'half', '--json')).stdout).toBe(
    `${JSON.stringify({ runs: [{ run: 'half', removed: [{ kind: 'secret', id: 'half' }], left: [] }] }, undefined, 2)}\n`,
  );
});

test('a network that only the engine still lists is none that could not be removed', async () => {
  const swarm = await PlayedSwarm.open({
    gone: { labels: runLabels('default', 'gone'), has: ['networks'], forgotten: true },
  });
  expect(await cli(swarm, 'stop', 'gone')).toMatchObject({ code: 0, stdout: 'gone: removed nothing.\n' });
});

test.each([
  [['stop'], 'swarm stop takes the name of a run, or --all, or --orphans.'],
  [['stop', 'live', '--all'], 'swarm stop takes the name of a run, or --all, or --orphans.'],
  [['stop', 'lvie'], "The swarm has no run 'lvie'. It has live, orphan, elsewhere."],
  [['logs', 'lvie'], "The swarm has no run 'lvie'. It has live, orphan, elsewhere."],
])('swarm %j is refused in a sentence', async (args, sentence) => {
  const swarm = await fourOwners();
  expect(await cli(swarm, ...args)).toEqual({ code: 2, stdout: '', stderr: `zufs-lab: ${sentence}\n` });
  expect(swarm.removed).toEqual([]);
});

test('swarm clean: the images of tasks go, the upper ones first, but for what is in use', async () => {
  const swarm = await PlayedSwarm.open({});
  swarm.images = ['zufs-lab-task-pmem:1', 'zufs-lab-task-kernel:2', 'zufs-lab-task:3', 'sha256:4'];
  swarm.usedImages = ['zufs-lab-task-pmem:1'];
  expect(await cli(swarm, 'clean')).toMatchObject({
    code: 0,
    stdout: 'node-a: removed 3 images; in use: zufs-lab-task-pmem:1.\n',
  });
  expect(swarm.images).toEqual(['zufs-lab-task-pmem:1']);
  expect((await cli(swarm, 'clean')).stdout).toBe(
    'node-a: removed 0 images; in use: zufs-lab-task-pmem:1.\n',
  );
});

test('swarm clean while a run is in the swarm: refused, and nothing goes', async () => {
  const swarm = await fourOwners();
  swarm.images = ['zufs-lab-task:1'];
  const { code, stderr } = await cli(swarm, 'clean');
  expect([code, stderr]).toEqual([2, expect.stringMatching(/^zufs-lab: The run \w+ is in the swarm: /)]);
  expect(swarm.images).toEqual(['zufs-lab-task:1']);
});

test('without any run', async () => {
  const swarm = await PlayedSwarm.open({});
  expect(await cli(swarm, 'status')).toMatchObject({ code: 0, stdout: 'No run is in the swarm.\n' });
  expect(await cli(swarm, 'stop', '--all')).toMatchObject({ code: 0, stdout: 'No run is in the swarm.\n' });
});
