// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type Docker from 'dockerode';
import { expect, test, vi } from 'vitest';
import { LabError } from '../errors.ts';
import type { TaskOrder } from '../remote/task-engine.ts';
import { fakeContext, settings } from '../testing/fake-context.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { SwarmEngine } from './engine.ts';
import { answeringEngines, connectEngine } from './manager.ts';
import { openSwarm } from './open.ts';
import { PlayedSwarm } from './testing/played-swarm.ts';

test('an engine that does not answer is left out with a note, and the others stay', async () => {
  const { socket } = await PlayedSwarm.open({});
  const gone = `unix://${join(await scratchDirectory(), 'gone.sock')}`;
  const notes: string[] = [];
  const engines = await answeringEngines([gone, `unix://${socket}`], (line) => notes.push(line));
  expect(engines.length).toBe(1);
  expect(await engines[0].docker.version()).toEqual({ Version: '20.10' });
  expect(notes).toEqual([
    `The engine at ${gone} (swarm.engines) is left out, as it does not answer: connect ENOENT ${gone.slice(7)}.`,
  ]);
});

test('an address that is none, and a login that is refused, are no engines that do not answer', async () => {
  const note = (line: string): never => expect.fail(line);
  await expect(answeringEngines(['node-b'], note)).rejects.toThrow('swarm.engines: node-b is neither');
  const refused = new LabError('node-b does not let root log in.');
  const connect = async (address: string): Promise<Docker> => {
    if (address === 'ssh://node-b') throw refused;
    return await connectEngine(address);
  };
  await expect(answeringEngines(['ssh://node-b'], note, connect)).rejects.toBe(refused);
});

/** With room for a task on the played node. */
const small = (engine: string) =>
  settings(({ swarm }) => {
    swarm.engines = [engine];
    swarm.cpus = 1;
    swarm.memory = '1G';
  });

test('a ready node whose engine does not answer is why no run starts, and not that engine', async () => {
  const { socket } = await PlayedSwarm.open({});
  vi.stubEnv('DOCKER_HOST', `unix://${socket}`);
  const directory = await scratchDirectory();
  const gone = `unix://${join(directory, 'gone.sock')}`;
  const context = fakeContext(directory, small(gone));
  try {
    await expect(openSwarm(context)).rejects.toThrow('The image of the tasks cannot be brought to node-a.');
  } finally {
    vi.unstubAllEnvs();
  }
  expect(context.notes).toEqual([
    expect.stringContaining(`The engine at ${gone} (swarm.engines) is left out`),
  ]);
});

test('an engine that has fallen silent since the swarm was opened is left out like one that was silent then', async () => {
  const { socket, manager } = await PlayedSwarm.open({});
  const directory = await scratchDirectory();
  const gone = `unix://${join(directory, 'gone.sock')}`;
  const context = fakeContext(directory, small(gone));
  const engine = new SwarmEngine({
    ...{ manager, address: `unix://${socket}`, others: [gone], base: 'builder:1' },
    settings: { cpus: 1, memory: 2 ** 30, labels: {}, concurrency: 0 },
  });
  const order = {} as TaskOrder;
  await expect(engine.start(context, order)).rejects.toThrow(
    'The image of the tasks cannot be brought to node-a.',
  );
  expect(context.notes).toEqual([
    expect.stringContaining(`The engine at ${gone} (swarm.engines) is left out`),
  ]);
});

test('KVM cannot be asked for: tasks have no devices', async () => {
  const context = fakeContext(
    await scratchDirectory(),
    settings(({ vm }) => {
      vm.accelerator = 'kvm';
    }),
  );
  await expect(openSwarm(context)).rejects.toThrow('vm.accelerator=kvm cannot be had in a swarm');
});
