// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import ssh2, { type Connection } from 'ssh2';
import { expect, onTestFinished, test } from 'vitest';
import { scratchDirectory } from '../testing/scratch.ts';
import { GuestVm } from './guest.ts';
import { SshClosedError } from './ssh.ts';
import { makeKeyPair } from './ssh-key.ts';
import { vmPaths } from './state.ts';

/** A guest whose sshd is played: every program succeeds, after `delay` ms. */
async function guest({ delay = 0 }: { readonly delay?: number } = {}) {
  const connections: Connection[] = [];
  const hostKey = makeKeyPair('host');
  const server = new ssh2.Server({ hostKeys: [hostKey.privateKey] }, (connection) => {
    connections.push(connection);
    connection.on('error', () => undefined);
    connection.on('authentication', (attempt) => attempt.accept());
    connection.on('session', (accept) => {
      accept().on('exec', (acceptExec) => {
        const channel = acceptExec();
        setTimeout(() => {
          channel.exit(0);
          channel.end();
        }, delay);
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const connection of connections) connection.end();
    server.close();
  });
  const stateDir = await scratchDirectory();
  const { consoleLog } = vmPaths(stateDir);
  await mkdir(dirname(consoleLog), { recursive: true });
  await writeFile(consoleLog, '');
  const background = { id: '1', labels: {}, running: async () => true, wait: async () => ({ code: null }) };
  const vm = new GuestVm({
    name: 'played',
    stateDir,
    background: { ...background, stop: async () => undefined },
    address: {
      host: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
      privateKey: makeKeyPair('client').privateKey,
      hostKey: hostKey.publicKey,
    },
  });
  return { vm, connections };
}

test('two who use it at once share one connection', async () => {
  const { vm, connections } = await guest();
  await Promise.all([vm.exec(['true']), vm.exec(['true'])]);
  expect(connections).toHaveLength(1);
  await vm[Symbol.asyncDispose]();
});

test('what is under way when it is closed fails at once, and what comes later does not connect again', async () => {
  const { vm, connections } = await guest({ delay: 60_000 });
  const running = vm.exec(['sleep', '60']);
  await expect.poll(() => connections.length).toBe(1);
  await vm[Symbol.asyncDispose]();
  await expect(running).rejects.toBeInstanceOf(SshClosedError);
  await expect(vm.exec(['true'])).rejects.toBeInstanceOf(SshClosedError);
  expect((await vm.health()).state).toBe('unreachable');
  expect(connections).toHaveLength(1);
});
