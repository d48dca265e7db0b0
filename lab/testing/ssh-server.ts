// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import ssh2, { type AuthContext, type Connection, type ServerChannel } from 'ssh2';

export interface SshServerOptions {
  /** Private keys. */
  readonly hostKeys: readonly string[];
  /** Accepts or rejects an attempt to log in, or ends the connection; default: everybody may log in. */
  readonly authenticate?: (attempt: AuthContext, connection: Connection) => void;
  /** Runs a command on the channel that `accept` gives, or rejects it. */
  readonly exec: (command: string, accept: () => ServerChannel, reject: () => void) => void;
}

/** An SSH server of a test, in its own process, on a port of loopback. */
export class SshServer implements Disposable {
  readonly port: number;
  /** All that there have been. */
  readonly connections: readonly Connection[];
  /** How many logins were accepted. */
  logins = 0;
  readonly #server: InstanceType<typeof ssh2.Server>;

  private constructor(server: InstanceType<typeof ssh2.Server>, connections: readonly Connection[]) {
    this.#server = server;
    this.connections = connections;
    this.port = (server.address() as AddressInfo).port;
  }

  static async listen({
    hostKeys,
    exec,
    authenticate = (attempt) => attempt.accept(),
  }: SshServerOptions): Promise<SshServer> {
    const connections: Connection[] = [];
    const server = new ssh2.Server({ hostKeys: [...hostKeys] }, (connection) => {
      connections.push(connection);
      // One that breaks is the client's matter.
      connection.on('error', () => undefined);
      connection.on('authentication', (attempt) => authenticate(attempt, connection));
      connection.on('ready', () => {
        listening.logins += 1;
      });
      connection.on('session', (accept) => {
        accept().on('exec', (acceptExec, reject, { command }) => exec(command, acceptExec, reject));
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const listening = new SshServer(server, connections);
    return listening;
  }

  [Symbol.dispose](): void {
    for (const connection of this.connections) connection.end();
    this.#server.close();
  }
}
