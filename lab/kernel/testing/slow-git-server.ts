// SPDX-License-Identifier: BSD-3-Clause

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

export interface SlowGitServer extends AsyncDisposable {
  readonly url: string;
  /** Resolves once someone has connected. */
  asked(): Promise<void>;
  /** Answer whoever comes from now on. */
  answer(): void;
}

/**
 * A directory, made a repository with all of it on branch `main`, behind a git server on loopback that accepts connections but
 * says nothing until it is told to.
 */
export async function slowGitServer(directory: string): Promise<SlowGitServer> {
  const identity = ['-c', 'user.name=T', '-c', 'user.email=t@example.org'];
  for (const args of [
    ['init', '--quiet', '--initial-branch=main'],
    ['add', '--all'],
    ['commit', '--quiet', '--no-gpg-sign', '-m', 'toy'],
  ]) {
    await promisify(execFile)('git', [...identity, '-C', directory, ...args]);
  }
  let answering = false;
  const asked = Promise.withResolvers<void>();
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined).on('close', () => open.delete(socket));
    asked.resolve();
    if (!answering) return;
    const git = ['daemon', '--inetd', '--export-all', `--base-path=${dirname(directory)}`, directory];
    const daemon = spawn('git', git, { stdio: ['pipe', 'pipe', 'ignore'] });
    daemon.stdin.on('error', () => undefined);
    socket.pipe(daemon.stdin);
    daemon.stdout.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `git://127.0.0.1:${port}${directory.slice(dirname(directory).length)}`,
    asked: () => asked.promise,
    answer: () => {
      answering = true;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
