// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { fakeContext } from '../testing/fake-context.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { type RunTasks, startTasks } from './start-tasks.ts';
import type { StartedTasks, TaskEngine, TaskOrder } from './task-engine.ts';

/** An engine whose tasks never come: what a run listens on is all that is asked of it. */
class NoTasks implements TaskEngine {
  readonly reaches = 'socket';
  readonly socketFiles: string[] = [];

  async start(_context: unknown, { at }: TaskOrder): Promise<StartedTasks> {
    if ('socketFile' in at) this.socketFiles.push(at.socketFile);
    return { failed: new Promise(() => undefined), [Symbol.asyncDispose]: async () => undefined };
  }
}

const request = {
  tasks: 1,
  deploy: 'nothing',
  joinTimeout: 60,
  artefacts: {
    kernel: { key: 'k', bzImage: '/k', flavour: 'release' },
    image: { key: 'i', disk: '/i', hostKey: '', hit: true },
  },
} as const;

/** Runs of one lab, at the same time. */
async function start(root: string, engine: TaskEngine, count: number): Promise<readonly RunTasks[]> {
  const runs: RunTasks[] = [];
  for (let number = 1; number <= count; number += 1) {
    const run = await startTasks(fakeContext(root), engine, request);
    onTestFinished(() => run[Symbol.asyncDispose]());
    runs.push(run);
  }
  return runs;
}

async function answers(socketFile: string): Promise<boolean> {
  const socket = connect(socketFile);
  const answered = await once(socket, 'connect').then(
    () => true,
    () => false,
  );
  socket.destroy();
  return answered;
}

test('two runs of a lab at a time: the end of one leaves the socket of the other', async () => {
  const engine = new NoTasks();
  const [first] = await start(await scratchDirectory(), engine, 2);
  const [ofFirst, ofSecond] = engine.socketFiles;
  expect([await answers(ofFirst), await answers(ofSecond)]).toEqual([true, true]);
  await first[Symbol.asyncDispose]();
  expect([await answers(ofFirst), await answers(ofSecond)]).toEqual([false, true]);
  // The consoles of their VMs lie beside the sockets, under names that are the same in every run.
  expect(dirname(ofFirst)).not.toBe(dirname(ofSecond));
});

test('what a run adds to the path of the state directory leaves room in the 107 bytes of a socket', async () => {
  const engine = new NoTasks();
  const root = await scratchDirectory();
  await start(root, engine, 1);
  expect(engine.socketFiles[0].slice(join(root, 'state').length).length).toBeLessThan(40);
});

test('what a run of a process that is gone has left goes with the next one', async () => {
  const root = await scratchDirectory();
  const left = join(root, 'state', 'tasks', '1.1.1');
  await mkdir(left, { recursive: true });
  await writeFile(join(left, 'console-1-task.log'), 'said before it was killed');
  const engine = new NoTasks();
  await start(root, engine, 2);
  const own = engine.socketFiles.map((file) => basename(dirname(file)));
  expect((await readdir(dirname(left))).sort()).toEqual(own.sort());
});
