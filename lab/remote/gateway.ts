// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { pipeline } from 'node:stream/promises';

export interface Gateway extends AsyncDisposable {
  readonly port: number;
}

/**
 * Passes connections at an address of a network on to a run that listens on a socket file: what runs in a container of the swarm's
 * network, with the file mounted, so that the run itself listens on no network at all. Who comes is for the run to judge.
 */
export async function openGateway(options: {
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
  readonly socketFile: string;
}): Promise<Gateway> {
  const server = createServer({ allowHalfOpen: true }, (outer) => {
    const inner = connect({ path: options.socketFile, allowHalfOpen: true });
    // Either side's end is the other's; what broke is told by that.
    void pipeline(outer, inner, outer).catch(() => undefined);
  });
  server.listen(options.port, options.host);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.close();
    },
  };
}
