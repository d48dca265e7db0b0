// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import getPort from 'get-port';
import { expect, onTestFinished, test, vi } from 'vitest';
import { scratchDirectory } from '../testing/scratch.ts';
import { openGateway } from './gateway.ts';
import { knockAtRun, TaskListener, type TaskListenerOptions } from './join.ts';

// A task that knocks before it boots.

const host = '127.0.0.1';
const token = 'of this run';
const { signal } = new AbortController();

async function listen(at: TaskListenerOptions['at'] = 'loopback') {
  const [onJoined, onRefused] = [vi.fn(), vi.fn()];
  const listener = await TaskListener.open({ at, token, onJoined, onRefused });
  onTestFinished(() => listener[Symbol.asyncDispose]());
  return { listener, onJoined, onRefused };
}

test('who has the token is told to come; that is no joining', async () => {
  const { listener, onJoined, onRefused } = await listen();
  await knockAtRun({ host, port: listener.port }, token, signal);
  expect([onJoined.mock.calls, onRefused.mock.calls]).toEqual([[], []]);
});

test('who has another token is told at once, and the run hears of it', async () => {
  const { listener, onRefused } = await listen();
  const knocking = knockAtRun({ host, port: listener.port }, 'another', signal);
  await expect(knocking).rejects.toThrow(
    'The run did not let this task in: Its token is not that of the run.',
  );
  expect(onRefused).toHaveBeenCalledTimes(1);
});

test('a gateway that comes a little later is waited for', async () => {
  const socketFile = join(await scratchDirectory(), 'run.sock');
  await listen({ socketFile });
  const port = await getPort({ host });
  const knocking = knockAtRun({ host, port }, token, signal);
  await new Promise((resolve) => setTimeout(resolve, 300));
  await using _gateway = await openGateway({ host, port, socketFile });
  await knocking;
});

test('nobody comes: one sentence', async () => {
  const port = await getPort({ host });
  await expect(knockAtRun({ host, port }, token, signal, 100)).rejects.toThrow(
    `The run's coordinator at 127.0.0.1:${port} does not answer.`,
  );
});

test('a gateway whose run is gone is not waited for', async () => {
  const socketFile = join(await scratchDirectory(), 'run.sock');
  await using gateway = await openGateway({ host, port: 0, socketFile });
  await expect(knockAtRun({ host, port: gateway.port }, token, signal)).rejects.toThrow(
    `The run's coordinator at 127.0.0.1:${gateway.port} does not answer.`,
  );
});

test('an interruption ends the waiting', async () => {
  const server = createServer().listen(0, host);
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { port } = server.address() as { readonly port: number };
  const stop = new AbortController();
  const knocking = knockAtRun({ host, port }, token, stop.signal);
  await once(server, 'connection');
  stop.abort(new Error('enough'));
  await expect(knocking).rejects.toThrow('enough');
});
