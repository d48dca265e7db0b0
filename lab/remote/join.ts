// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from '../errors.ts';
import { abortable } from '../vm/abortable.ts';
import {
  answerSchema,
  type Hello,
  helloSchema,
  type Knock,
  knockSchema,
  protocolVersion,
  readLine,
  sameToken,
} from './hello.ts';
import { keepAlive } from './keep-alive.ts';

/** What a greeting may take on a busy machine. */
const greetingMs = 15_000;

/** A task that has joined the run, and the connection by which its VM is used: it ends when the task does, or its machine. */
export interface JoinedTask {
  readonly hello: Omit<Hello, 'token'>;
  readonly session: ClientHttp2Session;
}

export interface TaskListenerOptions {
  /** Where to listen: at a free port of loopback, or on a socket file, to which a gateway passes on what comes elsewhere. */
  readonly at: 'loopback' | { readonly socketFile: string };
  readonly token: string;
  onJoined(task: JoinedTask): void;
  /** Whoever came is not let in: a sentence on why. */
  onRefused(reason: string): void;
}

/** Waits for the tasks of a run. Closing it ends neither their connections nor them. */
export class TaskListener implements AsyncDisposable {
  readonly #server: Server;
  readonly #options: TaskListenerOptions;
  readonly #greeting = new Set<Socket>();

  private constructor(options: TaskListenerOptions) {
    this.#options = options;
    this.#server = createServer((socket) => void this.#greet(socket));
  }

  static async open(options: TaskListenerOptions): Promise<TaskListener> {
    const listener = new TaskListener(options);
    if (options.at === 'loopback') listener.#server.listen(0, '127.0.0.1');
    else listener.#server.listen(options.at.socketFile);
    await once(listener.#server, 'listening');
    return listener;
  }

  /** Of loopback. */
  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('It listens on no port.');
    return address.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#greeting) socket.destroy();
  }

  async #greet(socket: Socket): Promise<void> {
    this.#greeting.add(socket);
    // Before and after a session has the socket: whoever waits for it hears by its end.
    socket.on('error', () => undefined);
    try {
      const hello = this.#admit(await readLine(socket, greetingMs));
      socket.write(`${JSON.stringify({})}\n`);
      if ('knock' in hello) return void socket.end();
      const session = connectHttp2('http://task', { createConnection: () => socket });
      // Whoever uses it hears by the end of what it asked for; while nobody does, its end is all that there is to know.
      session.on('error', () => undefined);
      keepAlive(session);
      this.#options.onJoined({ hello, session });
    } catch (error) {
      const refused = error instanceof Error ? error.message : String(error);
      socket.end(`${JSON.stringify({ refused })}\n`);
      this.#options.onRefused(`${socket.remoteAddress ?? 'A task'} was refused: ${refused}`);
    } finally {
      this.#greeting.delete(socket);
    }
  }

  #admit(line: string): Omit<Hello, 'token'> | Omit<Knock, 'token'> {
    let said: unknown;
    try {
      said = JSON.parse(line);
    } catch {
      throw new LabError('What it said is no greeting.');
    }
    const parsed = helloSchema.or(knockSchema).safeParse(said);
    if (!parsed.success) throw new LabError('What it said is no greeting of this version.');
    const { token, ...hello } = parsed.data;
    if (!sameToken(token, this.#options.token)) throw new LabError('Its token is not that of the run.');
    return hello;
  }
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** Join a run: the socket by which its coordinator then uses the VM (`serveVm`). Throws `LabError` when it does not let us in. */
export async function joinRun(address: Address, hello: Hello, signal?: AbortSignal): Promise<Socket> {
  return await greet(address, hello, signal).catch((error: unknown) => {
    throw asNoAnswer(address, error, signal);
  });
}

/** So long a gateway that is started along with its tasks may not be there yet, or not known by its name. */
const patienceMs = 30_000;
const pauseMs = 100;
/** There is nobody at the address, or no way to it. */
const nobody: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT'],
]);

/**
 * Ask a run whether a task with this token will be let in. Throws `LabError` when not, and when nobody has answered at its address
 * for a while.
 */
export async function knockAtRun(
  address: Address,
  token: string,
  signal: AbortSignal,
  within: number = patienceMs,
): Promise<void> {
  const deadline = performance.now() + within;
  for (;;) {
    try {
      const socket = await greet(address, { protocol: protocolVersion, token, knock: true }, signal);
      socket.destroy();
      return;
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (!nobody.has(code) || performance.now() > deadline) throw asNoAnswer(address, error, signal);
      await sleep(pauseMs, undefined, { signal });
    }
  }
}

/** The run does not want this task: one that knows its token and its version tells it so. */
class RefusedError extends LabError {}

async function greet(address: Address, said: Hello | Knock, signal?: AbortSignal): Promise<Socket> {
  const socket = connect({ ...address });
  try {
    await abortable(once(socket, 'connect'), signal);
    socket.write(`${JSON.stringify(said)}\n`);
    const { refused } = answerSchema.parse(JSON.parse(await abortable(readLine(socket, greetingMs), signal)));
    if (refused !== undefined) throw new RefusedError(`The run did not let this task in: ${refused}`);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function asNoAnswer({ host, port }: Address, cause: unknown, signal?: AbortSignal): LabError {
  signal?.throwIfAborted();
  if (cause instanceof RefusedError) return cause;
  return new LabError(`The run's coordinator at ${host}:${port} does not answer.`, { cause });
}
