// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { scratchDirectory } from '../testing/scratch.ts';
import { SshServer } from '../testing/ssh-server.ts';
import { GuestVm } from './guest.ts';
import { SshClosedError } from './ssh.ts';
import { makeKeyPair } from './ssh-key.ts';
import { vmPaths } from './state.ts';

/** A guest whose sshd is played: every program succeeds, after `delay` ms. */
async function guest({ delay = 0 }: { readonly delay?: number } = {}) {
  const hostKey = makeKeyPair('host');
  const server = await SshServer.listen({
    hostKeys: [hostKey.privateKey],
    exec: (_command, accept) => {
      const channel = accept();
      setTimeout(() => {
        channel.exit(0);
        channel.end();
      }, delay);
    },
  });
  onTestFinished(() => server[Symbol.dispose]());
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
      port: server.port,
      privateKey: makeKeyPair('client').privateKey,
      hostKey: hostKey.publicKey,
    },
  });
  return { vm, connections: server.connections };
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
