// SPDX-License-Identifier: BSD-3-Clause

import { open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';

const reply = z.union([
  z.object({ return: z.unknown() }),
  z.object({ error: z.object({ class: z.string(), desc: z.string() }) }),
]);

/** A path below the limit of 108 bytes for a socket's name, however long the directory's own is. */
export async function connectUnix(path: string): Promise<Socket> {
  const directory = await open(dirname(path), 'r');
  try {
    const socket = connect(`/proc/self/fd/${directory.fd}/${basename(path)}`);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return socket;
  } finally {
    await directory.close();
  }
}

/** Send one command to QEMU over QMP and give what it returns. Throws when QEMU is gone or refuses. */
export async function monitorCommand(
  socketPath: string,
  execute: string,
  argument: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  const socket = await connectUnix(socketPath);
  try {
    const lines = createInterface({ input: socket });
    const messages = lines[Symbol.asyncIterator]();
    // The greeting; commands are taken once capabilities have been negotiated.
    await messages.next();
    for (const command of [{ execute: 'qmp_capabilities' }, { execute, arguments: argument }]) {
      socket.write(`${JSON.stringify(command)}\n`);
      const answer = await nextReply(messages);
      if ('error' in answer) throw new Error(`QEMU refuses ${command.execute}: ${answer.error.desc}`);
      if (command.execute === execute) return answer.return;
    }
    return undefined;
  } finally {
    socket.destroy();
  }
}

/** The next message that answers a command: events come in between. */
async function nextReply(messages: AsyncIterator<string>): Promise<z.infer<typeof reply>> {
  for (;;) {
    const { done, value } = await messages.next();
    if (done === true) throw new Error('QEMU closed its monitor');
    const parsed = reply.safeParse(JSON.parse(value));
    if (parsed.success) return parsed.data;
  }
}
