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
import { packTree } from '../vm/transfer.ts';
import type { GuestExecOptions, GuestResult, Vm, VmHealth } from '../vm/vm.ts';
import {
  type Booted,
  bootedSchema,
  execFrameSchema,
  healthAnswerSchema,
  modeHeader,
  pathHeader,
  type ReviveRequest,
  treeHeader,
  vcpusAnswerSchema,
} from './messages.ts';

/** The task that has the VM, or its machine, is gone. */
export class NodeLostError extends LabError {
  constructor(node: string, cause?: unknown) {
    super(`The task on ${node} is gone.`, cause === undefined ? {} : { cause });
  }
}

/** What the rest of a console may take to get here. */
const copyMs = 3000;
const copyPollMs = 50;

/** The console of one boot, as far as it is here. */
interface CopiedConsole {
  readonly file: string;
  readonly stream: ClientHttp2Stream;
  bytes: number;
}

/** A VM that a task elsewhere has: everything goes over the connection to it. Only single files are downloaded. */
export class RemoteVm implements Vm, AsyncDisposable {
  readonly name: string;
  readonly #node: string;
  readonly #session: ClientHttp2Session;
  readonly #firstConsole: string;
  #boots = 1;
  #console: CopiedConsole | undefined;
  #appending: Promise<void> = Promise.resolve();

  constructor(parts: {
    readonly name: string;
    readonly node: string;
    readonly session: ClientHttp2Session;
    /** File on this machine that the console is copied to; those of later boots get their number. */
    readonly consoleLog: string;
  }) {
    this.name = parts.name;
    this.#firstConsole = parts.consoleLog;
    this.#node = parts.node;
    this.#session = parts.session;
    this.#followConsole();
  }

  get consoleLog(): string {
    return this.#boots === 1
      ? this.#firstConsole
      : this.#firstConsole.replace(/(\.log)?$/, `.${this.#boots}$1`);
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
    const status = await stat(hostPath);
    const directory = status.isDirectory();
    const headers = directory ? { [treeHeader]: '1' } : { [modeHeader]: (status.mode & 0o7777).toString(8) };
    await this.#transfer('/upload', guestPath, headers, signal, async (stream) => {
      const answer = answerOf(stream);
      const sent = directory
        ? packTree(hostPath, signal, (packed) => pipeline(packed, stream))
        : pipeline(createReadStream(hostPath), stream);
      await Promise.all([sent, requireSuccess(stream, answer)]);
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

  /** What the console said until then is here by the time that it answers. */
  async health(): Promise<VmHealth> {
    try {
      const { health, consoleBytes } = healthAnswerSchema.parse(await this.#ask('/health'));
      await this.#untilCopied(consoleBytes);
      return health;
    } catch (error) {
      const consoleTail = lastLines(await readConsole(this.consoleLog));
      if (error instanceof NodeLostError) return { state: 'node-lost', node: this.#node, consoleTail };
      return { state: 'unreachable', consoleTail };
    }
  }

  async #untilCopied(bytes: number): Promise<void> {
    const deadline = performance.now() + copyMs;
    while ((this.#console?.bytes ?? bytes) < bytes && performance.now() < deadline) await sleep(copyPollMs);
  }

  /** Have the task boot another VM in place of this one, which is then that one. */
  async revive(how: ReviveRequest = { keepPmem: false }): Promise<Booted> {
    this.#console?.stream.close();
    this.#console = undefined;
    const booted = bootedSchema.parse(await this.#ask('/revive', how));
    this.#boots += 1;
    this.#followConsole();
    return booted;
  }

  /** Give each vCPU a CPU of its machine to itself; what was done, or why not, in words. */
  async bindVcpus(): Promise<string> {
    return vcpusAnswerSchema.parse(await this.#ask('/bind-vcpus')).vcpus;
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
    const console: CopiedConsole = { file: this.consoleLog, stream, bytes: 0 };
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => {
      this.#appending = this.#appending.then(async () => {
        await appendFile(console.file, chunk);
        console.bytes += chunk.length;
      });
    });
    stream.end();
    this.#console = console;
  }

  async #ask(path: string, question?: unknown): Promise<unknown> {
    return await this.#request(path, {}, undefined, async (stream) => {
      stream.end(question === undefined ? undefined : JSON.stringify(question));
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
