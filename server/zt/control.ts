// SPDX-License-Identifier: BSD-3-Clause

/**
 * The control socket: one line of JSON asks, one line answers, and the server closes the connection.
 * `{"command":"status"}` → `{"ok":true,"result":…}` or `{"ok":false,"error":"…"}`.
 */

import { chmodSync, existsSync, unlinkSync } from 'node:fs';
import { createConnection, createServer, type Server as NetServer, type Socket } from 'node:net';

export type ControlHandler = () => unknown;

/** Longest question; whoever sends more is cut off. */
const MAX_LINE = 4096;

export class ControlError extends Error {
  override readonly name = 'ControlError';
}

export class ControlSocket implements AsyncDisposable {
  readonly #server: NetServer;
  readonly #connections = new Set<Socket>();

  private constructor(server: NetServer) {
    this.#server = server;
    server.on('connection', (socket) => {
      this.#connections.add(socket);
      socket.on('close', () => this.#connections.delete(socket));
    });
  }

  /** Throws `ControlError` when a live server has `path`. */
  static async assertFree(path: string): Promise<void> {
    if (existsSync(path) && (await answers(path)))
      throw new ControlError(`another server listens on ${path}`);
  }

  /** Listens on `path`, which only the owner may use. Throws `ControlError` when a live server has it. */
  static async listen(
    path: string,
    handlers: Readonly<Record<string, ControlHandler>>,
  ): Promise<ControlSocket> {
    await ControlSocket.assertFree(path);
    // Left behind by a server that was killed.
    if (existsSync(path)) unlinkSync(path);
    const server = createServer((socket) => serve(socket, handlers));
    const control = new ControlSocket(server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(new ControlError(`cannot listen on ${path}: ${error.message}`)));
      server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
    return control;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#connections) socket.destroySoon();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

function serve(socket: Socket, handlers: Readonly<Record<string, ControlHandler>>): void {
  let text = '';
  socket.setEncoding('utf8');
  // Whoever asked and went away does not matter.
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: string) => {
    text += chunk;
    const end = text.indexOf('\n');
    if (end >= 0) socket.end(`${JSON.stringify(answer(text.slice(0, end), handlers))}\n`);
    else if (text.length > MAX_LINE) socket.destroy();
  });
}

function answer(line: string, handlers: Readonly<Record<string, ControlHandler>>): object {
  try {
    const { command } = JSON.parse(line) as { command?: unknown };
    if (typeof command !== 'string' || !Object.hasOwn(handlers, command)) {
      return { ok: false, error: `unknown command ${JSON.stringify(command)}` };
    }
    return { ok: true, result: handlers[command]() };
  } catch (error) {
    return { ok: false, error: error instanceof Error ? error.message : String(error) };
  }
}

async function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Ask the server that listens on `path`. Throws `ControlError`. */
export async function ask(path: string, command: string): Promise<unknown> {
  const text = await new Promise<string>((resolve, reject) => {
    let received = '';
    const socket = createConnection(path, () => socket.write(`${JSON.stringify({ command })}\n`));
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      received += chunk;
    });
    socket.once('end', () => resolve(received));
    socket.once('error', (error) =>
      reject(new ControlError(`no server answers on ${path}: ${error.message}`)),
    );
  });
  const reply = JSON.parse(text) as { ok: boolean; result?: unknown; error?: string };
  if (!reply.ok) throw new ControlError(reply.error ?? 'the server refused');
  return reply.result;
}
