// SPDX-License-Identifier: BSD-3-Clause

import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { NodeSSH } from 'node-ssh';
import type { Client, ClientChannel } from 'ssh2';
import { keyBlob } from './ssh-key.ts';
import type { GuestExecOptions, GuestResult } from './vm.ts';

export interface SshAddress {
  readonly host: string;
  readonly port: number;
  /** Private key, as text. */
  readonly privateKey: string;
  /** The guest's public host key; no other is talked to. */
  readonly hostKey: string;
}

/** The connection ended before the program did. */
export class SshClosedError extends Error {
  constructor(cause?: unknown) {
    super('the SSH connection to the guest broke', cause === undefined ? {} : { cause });
    this.name = 'SshClosedError';
  }
}

/** A wrong host key: whatever listens there is not this lab's guest. */
export class HostKeyError extends Error {
  constructor() {
    super("the host key is not the one of this lab's guest");
    this.name = 'HostKeyError';
  }
}

export interface StreamOptions {
  readonly signal?: AbortSignal;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Ends the program's standard input when it ends; without one the input is empty. */
  readonly stdin?: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/** A handshake takes 0.5 s under emulation when nothing else runs, and many times that on a busy host. */
const handshakeMs = 30_000;
const keepaliveMs = 15_000;
/** A guest that is merely busy answers within this many intervals. */
const keepaliveCount = 12;
/** A program whose output goes to a callback as well keeps this much of it for the result. */
const keptCharacters = 2 ** 20;

/** One SSH connection to a guest, carrying any number of programs at a time. */
export class SshConnection implements AsyncDisposable {
  readonly #ssh: NodeSSH;
  readonly #client: Client;
  #closed: unknown;

  private constructor(ssh: NodeSSH, client: Client) {
    this.#ssh = ssh;
    this.#client = client;
    client.on('error', (error) => {
      this.#closed ??= error;
    });
    client.on('close', () => {
      this.#closed ??= new Error('closed by the other side');
    });
  }

  static async connect(address: SshAddress, withinMs: number = handshakeMs): Promise<SshConnection> {
    const pinned = Buffer.from(keyBlob(address.hostKey), 'base64');
    let wrongKey = false;
    const ssh = new NodeSSH();
    try {
      await ssh.connect({
        host: address.host,
        port: address.port,
        username: 'root',
        privateKey: address.privateKey,
        hostVerifier: (key: Buffer) => {
          wrongKey = !key.equals(pinned);
          return !wrongKey;
        },
        readyTimeout: Math.max(1000, Math.min(withinMs, handshakeMs)),
        keepaliveInterval: keepaliveMs,
        keepaliveCountMax: keepaliveCount,
      });
    } catch (error) {
      ssh.dispose();
      throw wrongKey ? new HostKeyError() : error;
    }
    if (ssh.connection === null) throw new SshClosedError();
    return new SshConnection(ssh, ssh.connection);
  }

  /** True once the connection has broken: it does not come back. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Run a program to its end and keep its output. Throws `SshClosedError`, or `signal`'s reason. */
  async exec(command: readonly string[], options: GuestExecOptions = {}): Promise<GuestResult> {
    const channel = await this.#open(guestCommandLine(command, options));
    const stdout = collect(channel, options.onStdout);
    const stderr = collect(channel.stderr, options.onStderr);
    channel.end(options.input ?? '');
    const exitCode = await this.#finish(channel, options.signal);
    return { exitCode, stdout: stdout(), stderr: stderr() };
  }

  /** Run a program with its input and output connected to streams, byte for byte; gives its exit code. */
  async stream(command: readonly string[], options: StreamOptions): Promise<number> {
    const channel = await this.#open(guestCommandLine(command, options));
    channel.pipe(options.stdout, { end: false });
    channel.stderr.pipe(options.stderr, { end: false });
    if (options.stdin === undefined) channel.end();
    else options.stdin.pipe(channel);
    try {
      return await this.#finish(channel, options.signal);
    } finally {
      options.stdin?.unpipe(channel);
    }
  }

  /** A login shell on a terminal. */
  async shell(terminal: { columns: number; rows: number; term: string }): Promise<ClientChannel> {
    return await this.#ssh.requestShell({
      term: terminal.term,
      cols: terminal.columns,
      rows: terminal.rows,
    });
  }

  /** Resolves with the exit code of a program or shell. */
  async finished(channel: ClientChannel, signal?: AbortSignal): Promise<number> {
    return await this.#finish(channel, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ssh.dispose();
  }

  async #open(line: string): Promise<ClientChannel> {
    if (this.#closed !== undefined) throw new SshClosedError(this.#closed);
    return await new Promise((resolve, reject) => {
      const onClose = (): void => reject(new SshClosedError(this.#closed));
      this.#client.once('close', onClose);
      this.#client.exec(line, (error, channel) => {
        this.#client.off('close', onClose);
        if (error === undefined) resolve(channel);
        else reject(this.#closed === undefined ? error : new SshClosedError(this.#closed));
      });
    });
  }

  async #finish(channel: ClientChannel, signal: AbortSignal | undefined): Promise<number> {
    return await new Promise<number>((resolve, reject) => {
      let exitCode: number | undefined;
      const onAbort = (): void => {
        // Closing the channel would leave the program running.
        channel.signal('KILL');
        channel.close();
        settle(() => reject(signal?.reason));
      };
      const settle = (how: () => void): void => {
        signal?.removeEventListener('abort', onAbort);
        how();
      };
      channel.on('exit', (code: number | null, signalName?: string) => {
        exitCode = code ?? signalExitCode(signalName);
      });
      channel.on('error', (error: Error) => settle(() => reject(new SshClosedError(error))));
      // After `close` every byte of output has been handed on.
      channel.on('close', () =>
        settle(() => (exitCode === undefined ? reject(new SshClosedError(this.#closed)) : resolve(exitCode))),
      );
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

/** What a shell gives for a program that a signal ended: 128 and its number. */
function signalExitCode(name: string | undefined): number {
  const number = constants.signals[`SIG${name}` as NodeJS.Signals];
  return 128 + (number ?? 0);
}

/**
 * The one place where arguments become a line: SSH carries a command as text for the guest's shell. Every word is quoted,
 * and `exec` puts the program in the shell's place, so that its signals and exit code are seen as they are.
 */
export function guestCommandLine(
  command: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): string {
  if (command.length === 0) throw new TypeError('no command given');
  const assignments = Object.entries(options.env ?? {}).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new TypeError(`not an environment variable: ${name}`);
    return `${name}=${quote(value)}`;
  });
  const words = command.map(quote).join(' ');
  const program = ['exec', ...(assignments.length > 0 ? ['env', ...assignments] : []), words].join(' ');
  return options.cwd === undefined ? program : `cd ${quote(options.cwd)} && ${program}`;
}

function quote(word: string): string {
  return /^[A-Za-z0-9_@%+:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Decode a stream; gives what was kept when called after its end. */
function collect(stream: Readable, onChunk: ((chunk: string) => void) | undefined): () => string {
  const decoder = new StringDecoder('utf8');
  let kept = '';
  stream.on('data', (chunk: Buffer) => {
    const text = decoder.write(chunk);
    kept += text;
    if (onChunk === undefined) return;
    onChunk(text);
    if (kept.length > 2 * keptCharacters) kept = kept.slice(-keptCharacters);
  });
  return () => kept + decoder.end();
}
