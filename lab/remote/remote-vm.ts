// SPDX-License-Identifier: BSD-3-Clause

import { createReadStream, createWriteStream } from 'node:fs';
import { appendFile, stat } from 'node:fs/promises';
import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { LabError } from '../errors.ts';
import type { TaskContext } from '../runtime/runtime.ts';
import { lastLines, readConsole } from '../vm/console.ts';
import type { GuestExecOptions, GuestResult, Vm, VmHealth } from '../vm/vm.ts';
import { execFrameSchema, healthSchema, modeHeader, pathHeader } from './messages.ts';

/** The task that has the VM, or its machine, is gone. */
export class NodeLostError extends LabError {
  constructor(node: string, cause?: unknown) {
    super(`The task on ${node} is gone.`, cause === undefined ? {} : { cause });
  }
}

/** What the rest of a console may take to get here. */
const copyMs = 3000;
const copyPollMs = 50;

/** A VM that a task elsewhere has: everything goes over the connection to it. Only single files are copied. */
export class RemoteVm implements Vm, AsyncDisposable {
  readonly name: string;
  readonly consoleLog: string;
  readonly #node: string;
  readonly #session: ClientHttp2Session;
  #console: ClientHttp2Stream | undefined;
  #appending: Promise<void> = Promise.resolve();

  constructor(parts: {
    readonly name: string;
    readonly node: string;
    readonly session: ClientHttp2Session;
    /** File on this machine that the console is copied to. */
    readonly consoleLog: string;
  }) {
    this.name = parts.name;
    this.consoleLog = parts.consoleLog;
    this.#node = parts.node;
    this.#session = parts.session;
    this.#followConsole();
  }

  async exec(command: readonly string[], options: GuestExecOptions = {}): Promise<GuestResult> {
    const { signal, cwd, env, input, onStdout, onStderr } = options;
    return await this.#request('/exec', {}, signal, async (stream) => {
      stream.end(JSON.stringify({ command, cwd, env, input }));
      const output = { stdout: '', stderr: '' };
      for await (const line of linesOf(stream)) {
        const frame = execFrameSchema.parse(JSON.parse(line));
        if ('exitCode' in frame) return { ...output, exitCode: frame.exitCode };
        if ('failed' in frame) throw new LabError(frame.failed);
        if ('stdout' in frame) {
          output.stdout += frame.stdout;
          onStdout?.(frame.stdout);
        } else {
          output.stderr += frame.stderr;
          onStderr?.(frame.stderr);
        }
      }
      throw new Error('the answer broke off');
    });
  }

  async upload(hostPath: string, guestPath: string, { signal }: TaskContext): Promise<void> {
    const mode = (await stat(hostPath)).mode & 0o7777;
    await this.#transfer('/upload', guestPath, { [modeHeader]: mode.toString(8) }, signal, async (stream) => {
      const answer = answerOf(stream);
      await Promise.all([pipeline(createReadStream(hostPath), stream), requireSuccess(stream, answer)]);
      await text(stream);
    });
  }

  async download(guestPath: string, hostPath: string, { signal }: TaskContext): Promise<void> {
    await this.#transfer('/download', guestPath, {}, signal, async (stream) => {
      stream.end();
      await requireSuccess(stream, answerOf(stream));
      await pipeline(stream, createWriteStream(hostPath));
    });
  }

  async health(): Promise<VmHealth> {
    try {
      const health = healthSchema.parse(await this.#ask('/health'));
      if (health.state !== 'running') await this.#untilCopied(health.consoleTail);
      return health;
    } catch (error) {
      const consoleTail = lastLines(await readConsole(this.consoleLog));
      if (error instanceof NodeLostError) return { state: 'node-lost', node: this.#node, consoleTail };
      return { state: 'unreachable', consoleTail };
    }
  }

  /** Whoever hears that the VM died looks into the console for why, and its copy comes a little later. */
  async #untilCopied(consoleTail: string): Promise<void> {
    const last = consoleTail.split('\n').at(-1)?.trim() ?? '';
    const deadline = performance.now() + copyMs;
    while (performance.now() < deadline) {
      await this.#appending;
      if ((await readConsole(this.consoleLog)).includes(last)) return;
      await sleep(copyPollMs);
    }
  }

  /** Have the task boot another VM in place of this one, which is then that one. */
  async revive(): Promise<Vm> {
    this.#console?.close();
    await this.#ask('/revive');
    this.#followConsole();
    return this;
  }

  /** Let the task go, which ends by that. */
  close(): void {
    this.#session.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.#appending;
  }

  #followConsole(): void {
    if (isOver(this.#session)) return;
    const stream = this.#session.request({ ':path': '/console' });
    stream.setEncoding('utf8');
    stream.on('error', () => undefined);
    stream.on('data', (chunk: string) => {
      this.#appending = this.#appending.then(() => appendFile(this.consoleLog, chunk));
    });
    stream.end();
    this.#console = stream;
  }

  async #ask(path: string): Promise<unknown> {
    return await this.#request(path, {}, undefined, async (stream) => {
      stream.end();
      await requireSuccess(stream, answerOf(stream));
      return JSON.parse(await text(stream));
    });
  }

  async #transfer(
    path: string,
    guestPath: string,
    headers: OutgoingHttpHeaders,
    signal: AbortSignal,
    body: (stream: ClientHttp2Stream) => Promise<void>,
  ): Promise<void> {
    await this.#request(path, { ...headers, [pathHeader]: encodeURIComponent(guestPath) }, signal, body);
  }

  async #request<T>(
    path: string,
    headers: OutgoingHttpHeaders,
    signal: AbortSignal | undefined,
    body: (stream: ClientHttp2Stream) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    let stream: ClientHttp2Stream | undefined;
    // The other side hears of it by the end of the stream.
    const onAbort = (): unknown => stream?.destroy();
    signal?.addEventListener('abort', onAbort);
    try {
      stream = this.#session.request({ ':method': 'POST', ':path': path, ...headers }, { endStream: false });
      // What waits for the stream rejects with it; an error that comes when nobody waits any more is no news.
      stream.on('error', () => undefined);
      return await body(stream);
    } catch (error) {
      signal?.throwIfAborted();
      // A connection ends its requests first, and is seen to have ended right after.
      await nextTurn();
      if (isOver(this.#session)) throw new NodeLostError(this.#node, error);
      if (error instanceof LabError) throw error;
      const what = error instanceof Error ? error.message : String(error);
      throw new LabError(`The VM on ${this.#node} could not be used: ${what}.`, { cause: error });
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

/** Whether nothing more will come from the other side. */
export function isOver(session: ClientHttp2Session): boolean {
  return session.closed || session.destroyed;
}

async function* linesOf(stream: ClientHttp2Stream): AsyncGenerator<string> {
  stream.setEncoding('utf8');
  let rest = '';
  for await (const chunk of stream as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

/** The status of the answer, once it comes. */
function answerOf(stream: ClientHttp2Stream): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  stream.once('response', (headers) => resolve(headers[':status'] ?? 0));
  stream.once('close', () => reject(new Error('the connection was closed')));
  return promise;
}

async function requireSuccess(stream: ClientHttp2Stream, answer: Promise<number>): Promise<void> {
  if ((await answer) === 200) return;
  const frame = execFrameSchema.parse(JSON.parse(await text(stream)));
  throw new LabError('failed' in frame ? frame.failed : 'The task could not do it.');
}
