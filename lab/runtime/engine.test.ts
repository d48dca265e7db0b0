// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { scratchDirectory } from '../testing/scratch.ts';
import { binds } from './docker.ts';
import { findEngine, noEngineError } from './engine.ts';

/** Something that listens where an engine would. */
async function listener(answer: RequestListener): Promise<string> {
  const socket = join(await scratchDirectory(), 'docker.sock');
  const server = createServer(answer).listen(socket);
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `unix://${socket}`;
}

test('an engine that answers is found, with its version', async () => {
  const address = await listener((_request, response) => {
    response.setHeader('content-type', 'application/json').end('{"Version":"20.10.24"}');
  });
  const { engine, tried } = await findEngine({ DOCKER_HOST: address });
  expect(engine).toMatchObject({ address, version: '20.10.24' });
  expect(tried).toEqual([]);
});

test('one that accepts and falls silent is given up within seconds', async () => {
  const address = await listener(() => undefined);
  const { engine, tried } = await findEngine({ DOCKER_HOST: address });
  expect(engine).toBeUndefined();
  expect(tried).toEqual([{ address, problem: 'no answer within 10 s' }]);
});

test.each([
  ['unix:///nonexistent/docker.sock', 'not there'],
  ['tcp://127.0.0.1:1', 'nobody listens'],
  ['tcp://elsewhere.example:2375', 'another machine, which cannot see the files of this one'],
  ['nonsense', 'no address of the form unix://… or tcp://…'],
])('DOCKER_HOST=%s: %s', async (address, problem) => {
  expect((await findEngine({ DOCKER_HOST: address })).tried).toEqual([{ address, problem }]);
});

test('the error says what was tried and what to do', () => {
  const error = noEngineError([{ address: 'unix:///var/run/docker.sock', problem: 'not there' }]);
  expect(error.message).toBe('No container engine answers: unix:///var/run/docker.sock: not there.');
  expect(error.hint).toContain('systemctl start docker');
  expect(noEngineError([{ address: 'x', problem: 'permission denied' }]).hint).toContain(
    'adduser $USER docker',
  );
});

test('a container sees each path once, and a parent in place of what is below it', () => {
  expect(
    binds([
      { path: '/cache/work', writable: true },
      { path: '/cache', writable: true },
      { path: '/src', writable: false },
      { path: '/src/out', writable: true },
      { path: '/src', writable: false },
      { path: '/src/in', writable: false },
      { path: '/sources', writable: false },
    ]),
  ).toEqual(['/cache:/cache:rw', '/src:/src:ro', '/src/out:/src/out:rw', '/sources:/sources:ro']);
});
