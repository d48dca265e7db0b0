// SPDX-License-Identifier: BSD-3-Clause

import { createInterface } from 'node:readline';
import { PassThrough, Readable } from 'node:stream';
import type Docker from 'dockerode';

/** A line that a task printed. */
export interface TaskLine {
  /** The swarm's name of the task; undefined for a line of the engine itself, such as on a node that it cannot ask. */
  readonly task: string | undefined;
  readonly text: string;
}

/** What the tasks of a service printed, as the engine gathers it from their nodes; with `follow`, until `signal` aborts. */
export async function* taskLines(
  manager: Docker,
  service: string,
  { follow, signal }: { readonly follow: boolean; readonly signal: AbortSignal },
): AsyncGenerator<TaskLine> {
  // Details say which task a line is of.
  const options = { stdout: true, stderr: true, details: true, abortSignal: signal };
  const log = manager.getService(service);
  const stream: NodeJS.ReadableStream = follow
    ? await log.logs({ ...options, follow: true })
    : Readable.from([await log.logs({ ...options, follow: false })]);
  // A frame is a whole line, so that the two can share one stream.
  const lines = new PassThrough();
  manager.modem.demuxStream(stream, lines, lines);
  for (const event of ['end', 'close', 'error']) stream.on(event, () => lines.end());
  for await (const line of createInterface({ input: lines })) yield parseLine(line);
}

/** The engine puts what it knows of a line before it: `key=value,key=value text`. */
export function parseLine(line: string): TaskLine {
  const match = /^\S*\bcom\.docker\.swarm\.task\.id=(\w+)\S* (.*)$/.exec(line);
  return match === null ? { task: undefined, text: line } : { task: match[1], text: match[2] };
}
