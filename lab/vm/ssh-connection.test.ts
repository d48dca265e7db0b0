// SPDX-License-Identifier: BSD-3-Clause

import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { ServerChannel } from 'ssh2';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { scratchDirectory } from '../testing/scratch.ts';
import { SshServer } from '../testing/ssh-server.ts';
import { HostKeyError, type SshAddress, SshClosedError, SshConnection } from './ssh.ts';
import { makeKeyPair } from './ssh-key.ts';
import { download, upload } from './transfer.ts';

/** As sshd does it: through a shell, with its streams connected. */
function run(command: string, channel: ServerChannel): void {
  const child = spawn('/bin/sh', ['-c', command]);
  channel.pipe(child.stdin.on('error', () => undefined));
  child.stdout.pipe(channel, { end: false });
  child.stderr.pipe(channel.stderr, { end: false });
  child.on('close', (code, signal) => {
    if (signal === null) channel.exit(code ?? 0);
    else channel.exit(signal.replace('SIG', ''), false, '');
    channel.end();
  });
}

const hostKey = makeKeyPair('host');
let server: SshServer;
let address: SshAddress;
let ssh: SshConnection;

beforeAll(async () => {
  server = await SshServer.listen({
    hostKeys: [hostKey.privateKey],
    exec: (command, accept) => run(command, accept()),
  });
  address = {
    host: '127.0.0.1',
    port: server.port,
    privateKey: makeKeyPair('client').privateKey,
    hostKey: hostKey.publicKey,
  };
  ssh = await SshConnection.connect(address);
});
afterAll(async () => {
  await ssh[Symbol.asyncDispose]();
  server[Symbol.dispose]();
});

test.each([
  [['true'], 0],
  [['sh', '-c', 'exit 42'], 42],
  [['no-such-program-here'], 127],
  [['sh', '-c', 'kill -TERM $$'], 143],
  [['sh', '-c', 'kill -KILL $$'], 137],
])('%j gives exit code %i', async (command, exitCode) => {
  expect((await ssh.exec(command)).exitCode).toBe(exitCode);
});

test('output comes whole, its characters too, and to the callbacks as it is written', async () => {
  const chunks: string[] = [];
  const command = ['sh', '-c', 'printf "\\303"; sleep 0.1; printf "\\244\\n"; echo aside >&2; cat'];
  const result = await ssh.exec(command, { input: 'in', onStdout: (chunk) => chunks.push(chunk) });
  expect(result).toEqual({ exitCode: 0, stdout: 'ä\nin', stderr: 'aside\n' });
  expect(chunks.join('')).toBe('ä\nin');
});

test('streams are connected byte for byte', async () => {
  const bytes = randomBytes(3_000_000);
  const stdout = new PassThrough();
  const received = buffer(stdout);
  const exitCode = await ssh.stream(['cat'], {
    stdin: new PassThrough().end(bytes),
    stdout,
    stderr: new PassThrough().resume(),
  });
  stdout.end();
  expect(exitCode).toBe(0);
  expect(
    createHash('sha256')
      .update(await received)
      .digest('hex'),
  ).toBe(createHash('sha256').update(bytes).digest('hex'));
});

test('a reader that leaves early does not hold up the end', async () => {
  const stdout = new PassThrough();
  stdout.once('data', () => stdout.destroy());
  const stderr = new PassThrough().resume();
  const command = ['sh', '-c', 'echo first; sleep 0.3; seq 100000; exit 3'];
  expect(await ssh.stream(command, { stdout, stderr })).toBe(3);
});

test('an abort ends the program, not just the wait for it', async () => {
  const directory = await scratchDirectory();
  const abort = new AbortController();
  const running = ssh.exec(['sh', '-c', 'sleep 60 & echo $!; wait'], {
    cwd: directory,
    signal: abort.signal,
    onStdout: (pid) => {
      expect(() => process.kill(Number(pid), 0)).not.toThrow();
      abort.abort(new Error(`enough of ${pid.trim()}`));
    },
  });
  const reason = await running.then(
    () => 'ended',
    (error: Error) => error.message,
  );
  const pid = Number(/^enough of (\d+)$/.exec(reason)?.[1]);
  await expect.poll(() => alive(pid)).toBe(false);
});

/** One that has ended but that its parent has not waited for yet (an init that takes its time) is not alive. */
function alive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

test('a connection that breaks rejects what runs on it, and all that comes after', async () => {
  const other = await SshConnection.connect(address);
  const running = other.exec(['sleep', '60']);
  // Nobody reads on at its other end.
  const full = new PassThrough();
  const copying = other.stream(['yes'], { stdout: full, stderr: full });
  await once(full, 'readable');
  const [connection] = server.connections.slice(-1);
  setTimeout(() => connection.end(), 100);
  await expect(running).rejects.toThrow(SshClosedError);
  await expect(copying).rejects.toThrow(SshClosedError);
  expect(other.closed).toBe(true);
  await expect(other.exec(['true'])).rejects.toThrow(SshClosedError);
  expect((await ssh.exec(['true'])).exitCode).toBe(0);
});

test('another host key is not talked to', async () => {
  await expect(
    SshConnection.connect({ ...address, hostKey: makeKeyPair('other').publicKey }),
  ).rejects.toThrow(HostKeyError);
});

test('trees and files are copied both ways, with modes, links and odd names', async () => {
  const directory = await scratchDirectory();
  const { signal } = new AbortController();
  const source = join(directory, 'source');
  await mkdir(join(source, 'sub dir'), { recursive: true });
  await writeFile(join(source, "sub dir/it's,&odd"), 'content', { mode: 0o750 });
  await symlink("sub dir/it's,&odd", join(source, 'link'));

  await upload(ssh, source, join(directory, 'there'), signal);
  await download(ssh, join(directory, 'there'), join(directory, 'back'), signal);
  expect(await readFile(join(directory, 'back/link'), 'utf8')).toBe('content');
  expect(await readlink(join(directory, 'back/link'))).toBe("sub dir/it's,&odd");
  expect((await stat(join(directory, "back/sub dir/it's,&odd"))).mode & 0o777).toBe(0o750);

  await upload(ssh, join(source, "sub dir/it's,&odd"), join(directory, 'new/one file'), signal);
  expect((await stat(join(directory, 'new/one file'))).mode & 0o777).toBe(0o750);
  await download(ssh, join(directory, 'new/one file'), join(directory, 'newer/a,b&c'), signal);
  expect(await readFile(join(directory, 'newer/a,b&c'), 'utf8')).toBe('content');
});

test('what cannot be copied is said with the reason', async () => {
  const directory = await scratchDirectory();
  const { signal } = new AbortController();
  await expect(upload(ssh, join(directory, 'missing'), '/tmp/x', signal)).rejects.toThrow(
    /missing cannot be copied/,
  );
  await expect(download(ssh, join(directory, 'missing'), join(directory, 'x'), signal)).rejects.toThrow(
    /Copying to or from the guest failed: .*missing/,
  );
});
