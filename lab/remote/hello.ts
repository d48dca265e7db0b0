// SPDX-License-Identifier: BSD-3-Clause

import { createHash, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import { z } from 'zod';
import { LabError } from '../errors.ts';
import { bootedSchema } from './messages.ts';

/** The two sides are made from one checkout; a task of an older image that is still about is none of this run. */
export const protocolVersion = 5;

/** What a task says of itself and its VM when it joins a run, in one line of JSON. */
export const helloSchema = bootedSchema.extend({
  protocol: z.literal(protocolVersion),
  /** Of the run: whoever has it may run its tests. */
  token: z.string(),
  /** What tells the tasks of a run apart. */
  task: z.string().regex(/^[\w.-]{1,64}$/),
  /** Machine that the task is on. */
  node: z.string().max(255),
  /** Node's name of the machine's architecture. */
  architecture: z.string(),
  /** What runs in it, so that the run need not ask a VM that may be gone by then: `uname -r`, and the server, if one is deployed. */
  guest: z.object({ kernel: z.string(), server: z.string() }),
  /** Seconds that the VM took to come up. */
  bootSeconds: z.number(),
});

export type Hello = Readonly<z.infer<typeof helloSchema>>;

/** What a task says before it boots: whoever would not be let in need not. */
export const knockSchema = z.object({
  protocol: z.literal(protocolVersion),
  token: z.string(),
  knock: z.literal(true),
});

export type Knock = Readonly<z.infer<typeof knockSchema>>;

/** What the other side answers to it. */
export const answerSchema = z.object({ refused: z.string().optional() });

/** Compares hashes, so that neither content nor length shows in the time that it takes. */
export function sameToken(one: string, other: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(one), hash(other));
}

const longestLine = 16_384;

/** The first line that comes on a socket; what follows it stays to be read. Rejects when there is none in time. */
export async function readLine(socket: Socket, ms: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let text = '';
  const onData = (chunk: Buffer): void => {
    text += chunk.toString('latin1');
    const end = text.indexOf('\n');
    if (end === -1) {
      if (text.length > longestLine) reject(new LabError('What came is no line of the protocol.'));
      return;
    }
    // Taken back only once nobody listens: it would be given to this listener again.
    stop();
    socket.pause();
    socket.unshift(Buffer.from(text.slice(end + 1), 'latin1'));
    resolve(Buffer.from(text.slice(0, end), 'latin1').toString('utf8'));
  };
  const onEnd = (): void => reject(new LabError('The connection ended before anything was said.'));
  const timer = setTimeout(() => reject(new LabError(`Nothing was said for ${ms / 1000} s.`)), ms);
  const stop = (): void => {
    clearTimeout(timer);
    socket.off('data', onData).off('close', onEnd).off('end', onEnd).off('error', reject);
  };
  socket.on('data', onData).on('close', onEnd).on('end', onEnd).on('error', reject);
  try {
    return await promise;
  } finally {
    stop();
  }
}
