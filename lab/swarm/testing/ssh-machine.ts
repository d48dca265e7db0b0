// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import ssh2, { type AuthContext, type ServerChannel } from 'ssh2';
import { onTestFinished } from 'vitest';
import { scratchDirectory } from '../../testing/scratch.ts';
import { SshServer } from '../../testing/ssh-server.ts';
import { makeKeyPair } from '../../vm/ssh-key.ts';
import type { Environment } from '../ssh-login.ts';

export interface SshMachineOptions {
  /** Public key lines that may log in. */
  readonly authorized: readonly string[];
  /** The socket of the engine that `docker system dial-stdio` connects to. */
  readonly engine?: string;
  /** Private host keys; default: one ed25519 key. */
  readonly hostKeys?: readonly string[];
  /** What becomes of the program, in place of a connection to the engine. */
  readonly program?: 'refused' | { readonly complains: string } | 'silent';
  /** Hang up at the first attempt to log in. */
  readonly hangsUp?: true;
}

/** Another machine as `docker -H ssh://…` sees it: an SSH server that passes connections on to an engine. */
export class SshMachine {
  /** Public host key lines. */
  readonly hostKeys: readonly string[];
  readonly #server: SshServer;

  private constructor(server: SshServer, hostKeys: readonly string[]) {
    this.#server = server;
    this.hostKeys = hostKeys.map(publicLine);
  }

  static async start(options: SshMachineOptions): Promise<SshMachine> {
    const { authorized, hangsUp, program, hostKeys = [makeKeyPair('host').privateKey] } = options;
    const server = await SshServer.listen({
      hostKeys,
      authenticate: (attempt, connection) => {
        if (hangsUp) connection.end();
        else if (mayLogIn(attempt, authorized)) attempt.accept();
        else attempt.reject(['publickey']);
      },
      exec: (command, accept, reject) => {
        if (command !== 'docker system dial-stdio' || program === 'refused') reject();
        else run(accept(), options);
      },
    });
    onTestFinished(() => server[Symbol.dispose]());
    return new SshMachine(server, hostKeys);
  }

  /** How many logins were accepted. */
  get logins(): number {
    return this.#server.logins;
  }

  get port(): number {
    return this.#server.port;
  }

  get address(): string {
    return `ssh://tester@127.0.0.1:${this.port}`;
  }

  /** Of known_hosts. */
  get knownAs(): string {
    return `[127.0.0.1]:${this.#server.port}`;
  }
}

function mayLogIn(attempt: AuthContext, authorized: readonly string[]): boolean {
  if (attempt.method !== 'publickey' || attempt.username !== 'tester') return false;
  return authorized.some((line) => {
    const key = ssh2.utils.parseKey(line);
    if (key instanceof Error || !key.getPublicSSH().equals(attempt.key.data)) return false;
    const { blob, signature, hashAlgo } = attempt;
    return blob === undefined || signature === undefined || key.verify(blob, signature, hashAlgo) === true;
  });
}

function run(channel: ServerChannel, { program, engine = '' }: SshMachineOptions): void {
  if (program === 'silent') return;
  if (typeof program === 'object') {
    channel.stderr.write(program.complains);
    channel.exit(127);
    channel.end();
    return;
  }
  const socket = connect(engine).on('error', () => channel.close());
  channel.pipe(socket);
  socket.pipe(channel);
}

function publicLine(privateKey: string): string {
  const key = ssh2.utils.parseKey(privateKey);
  if (key instanceof Error) throw key;
  return `${key.type} ${key.getPublicSSH().toString('base64')}`;
}

/** The environment of a user whose ~/.ssh has these files, and who has no ssh agent. */
export async function userWith(files: Readonly<Record<string, string>>): Promise<Environment> {
  const HOME = await scratchDirectory();
  await mkdir(join(HOME, '.ssh'), { mode: 0o700 });
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(HOME, '.ssh', name), text, { mode: 0o600 });
  }
  return { HOME };
}
