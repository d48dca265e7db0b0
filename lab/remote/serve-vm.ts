// SPDX-License-Identifier: BSD-3-Clause

import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import type { TaskContext } from '../runtime/runtime.ts';
import { unpackFrom } from '../vm/transfer.ts';
import type { Vm } from '../vm/vm.ts';
import { keepAlive } from './keep-alive.ts';
import {
  type Booted,
  type ExecFrame,
  execRequestSchema,
  type healthAnswerSchema,
  modeHeader,
  pathHeader,
  type ReviveRequest,
  reviveRequestSchema,
  treeHeader,
} from './messages.ts';

export interface ServedVm {
  readonly vm: Vm;
  revive(how: ReviveRequest): Promise<RevivedVm>;
  /** Give each vCPU a CPU of the machine to itself; what was done, or why not, in words. */
  bindVcpus(): Promise<string>;
  /** Where files rest on their way. */
  readonly scratch: string;
  readonly progress: TaskContext['progress'];
}

export interface RevivedVm extends Booted {
  readonly vm: Vm;
}

const consolePollMs = 200;

/**
 * Let the other end of `socket` use the VM: one HTTP/2 request for each thing that it does with it, in which this side is the
 * server although it was this side that connected.
 */
export function serveVm(socket: Socket, served: ServedVm): ServerHttp2Session {
  const server = new VmServer(served);
  const session = performServerHandshake(socket);
  keepAlive(session);
  // What the other side did not say is told by the end of the session.
  session.on('error', () => undefined);
  session.on('stream', (stream, headers) => {
    const path = headers[':path'] ?? '';
    // The other side went away in the middle of it; the session tells.
    stream.on('error', () => undefined);
    server.answer(path, stream, headers).catch((error: unknown) => fail(stream, error));
  });
  return session;
}

/** How the use of a VM ended: the other side let it go, or nothing more was heard of it. */
export async function endOf(session: ServerHttp2Session): Promise<'released' | 'cut'> {
  const { promise, resolve } = Promise.withResolvers<'released' | 'cut'>();
  session.once('goaway', () => resolve('released'));
  session.once('close', () => resolve('cut'));
  return await promise;
}

function fail(stream: ServerHttp2Stream, error: unknown): void {
  if (stream.destroyed) return;
  const failed = error instanceof Error ? error.message : String(error);
  if (!stream.headersSent) stream.respond({ ':status': 500 });
  stream.end(`${JSON.stringify({ failed } satisfies ExecFrame)}\n`);
}

type Headers = Readonly<Record<string, string | string[] | number | undefined>>;

class VmServer {
  readonly #served: ServedVm;
  #vm: Vm;

  constructor(served: ServedVm) {
    this.#served = served;
    this.#vm = served.vm;
  }

  async answer(path: string, stream: ServerHttp2Stream, headers: Headers): Promise<void> {
    const gone = new AbortController();
    stream.once('close', () => gone.abort(new Error('the run does not wait for it any more')));
    switch (path) {
      case '/exec':
        return await this.#exec(stream, gone.signal);
      case '/upload':
        return await this.#upload(stream, headers, gone.signal);
      case '/download':
        return await this.#download(stream, headers, gone.signal);
      case '/health':
        return respond(stream, await this.#health());
      case '/revive':
        return respond(stream, await this.#revive(reviveRequestSchema.parse(JSON.parse(await text(stream)))));
      case '/bind-vcpus':
        return respond(stream, { vcpus: await this.#served.bindVcpus() });
      case '/console':
        return await this.#console(stream, gone.signal);
      default:
        throw new Error(`${path} is nothing that can be asked for`);
    }
  }

  async #health(): Promise<z.input<typeof healthAnswerSchema>> {
    const health = await this.#vm.health();
    // Of a VM that is elsewhere itself.
    if (health.state === 'node-lost') throw new Error(`${health.node} is gone`);
    return { health, consoleBytes: await bytesOf(this.#vm.consoleLog) };
  }

  async #revive(how: ReviveRequest): Promise<Booted> {
    const { vm, ...booted } = await this.#served.revive(how);
    this.#vm = vm;
    return booted;
  }

  async #exec(stream: ServerHttp2Stream, signal: AbortSignal): Promise<void> {
    const { command, ...options } = execRequestSchema.parse(JSON.parse(await text(stream)));
    stream.respond({ ':status': 200 });
    const send = (frame: ExecFrame): void => {
      if (!stream.destroyed) stream.write(`${JSON.stringify(frame)}\n`);
    };
    const { exitCode } = await this.#vm.exec(command, {
      ...defined(options),
      signal,
      onStdout: (stdout) => send({ stdout }),
      onStderr: (stderr) => send({ stderr }),
    });
    send({ exitCode });
    stream.end();
  }

  async #upload(stream: ServerHttp2Stream, headers: Headers, signal: AbortSignal): Promise<void> {
    await this.#withScratch(async (file) => {
      if (headers[treeHeader] === undefined) {
        const mode = Number.parseInt(String(headers[modeHeader]), 8);
        await pipeline(stream, createWriteStream(file, { mode }), { end: true });
      } else await unpackFrom(stream, file, signal);
      await this.#vm.upload(file, pathOf(headers), this.#context(signal));
    });
    respond(stream, {});
  }

  async #download(stream: ServerHttp2Stream, headers: Headers, signal: AbortSignal): Promise<void> {
    await this.#withScratch(async (file) => {
      await this.#vm.download(pathOf(headers), file, this.#context(signal));
      stream.respond({ ':status': 200, [modeHeader]: ((await stat(file)).mode & 0o7777).toString(8) });
      await pipeline(createReadStream(file), stream);
    });
  }

  /** From its beginning, and on as it grows; of another VM in the place of this one it is another. */
  async #console(stream: ServerHttp2Stream, signal: AbortSignal): Promise<void> {
    stream.respond({ ':status': 200 });
    const { consoleLog } = this.#vm;
    let sent = 0;
    while (!signal.aborted) {
      const bytes = await bytesOf(consoleLog);
      if (bytes > sent) {
        await pipeline(createReadStream(consoleLog, { start: sent, end: bytes - 1 }), stream, { end: false });
        sent = bytes;
      }
      await sleep(consolePollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #context(signal: AbortSignal): TaskContext {
    return { signal, progress: this.#served.progress };
  }

  async #withScratch(body: (file: string) => Promise<void>): Promise<void> {
    const directory = await mkdtemp(join(this.#served.scratch, 'transfer-'));
    try {
      await body(join(directory, 'file'));
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
}

/** 0 while there is none. */
async function bytesOf(file: string): Promise<number> {
  return await stat(file).then(
    ({ size }) => size,
    () => 0,
  );
}

function respond(stream: ServerHttp2Stream, value: unknown): void {
  if (stream.destroyed) return;
  stream.respond({ ':status': 200 });
  stream.end(JSON.stringify(value));
}

function pathOf(headers: Headers): string {
  return decodeURIComponent(String(headers[pathHeader]));
}

/** Without the options that are not given: they may be left out, but not undefined. */
function defined<T extends object>(options: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]: Exclude<T[Key], undefined>;
  };
}
