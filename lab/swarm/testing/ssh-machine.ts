// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import ssh2, { type AuthContext, type Connection, type ServerChannel } from 'ssh2';
import { onTestFinished } from 'vitest';
import { scratchDirectory } from '../../testing/scratch.ts';
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
  /** How many logins were accepted. */
  logins = 0;
  port = 0;
  /** Public host key lines. */
  readonly hostKeys: readonly string[];
  readonly #options: SshMachineOptions;

  private constructor(options: SshMachineOptions, hostKeys: readonly string[]) {
    this.#options = options;
    this.hostKeys = hostKeys.map(publicLine);
  }

  static async start(options: SshMachineOptions): Promise<SshMachine> {
    const hostKeys = options.hostKeys ?? [makeKeyPair('host').privateKey];
    const machine = new SshMachine(options, hostKeys);
    const connections = new Set<Connection>();
    const server = new ssh2.Server({ hostKeys: [...hostKeys] }, (connection) => {
      connections.add(connection);
      machine.#serve(connection);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    machine.port = (server.address() as AddressInfo).port;
    onTestFinished(() => {
      for (const connection of connections) connection.end();
      server.close();
    });
    return machine;
  }

  get address(): string {
    return `ssh://tester@127.0.0.1:${this.port}`;
  }

  /** Of known_hosts. */
  get knownAs(): string {
    return `[127.0.0.1]:${this.port}`;
  }

  #serve(connection: Connection): void {
    connection.on('error', () => undefined);
    connection.on('authentication', (attempt) => {
      if (this.#options.hangsUp) connection.end();
      else if (this.#mayLogIn(attempt)) attempt.accept();
      else attempt.reject(['publickey']);
    });
    connection.on('ready', () => {
      this.logins += 1;
    });
    connection.on('session', (accept) => {
      accept().on('exec', (acceptExec, reject, { command }) => {
        if (command !== 'docker system dial-stdio' || this.#options.program === 'refused') reject();
        else this.#run(acceptExec());
      });
    });
  }

  #mayLogIn(attempt: AuthContext): boolean {
    if (attempt.method !== 'publickey' || attempt.username !== 'tester') return false;
    return this.#options.authorized.some((line) => {
      const key = ssh2.utils.parseKey(line);
      if (key instanceof Error || !key.getPublicSSH().equals(attempt.key.data)) return false;
      const { blob, signature, hashAlgo } = attempt;
      return blob === undefined || signature === undefined || key.verify(blob, signature, hashAlgo) === true;
    });
  }

  #run(channel: ServerChannel): void {
    const { program, engine } = this.#options;
    if (program === 'silent') return;
    if (typeof program === 'object') {
      channel.stderr.write(program.complains);
      channel.exit(127);
      channel.end();
      return;
    }
    const socket = connect(engine ?? '').on('error', () => channel.close());
    channel.pipe(socket);
    socket.pipe(channel);
  }
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
