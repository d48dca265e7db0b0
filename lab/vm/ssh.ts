// SPDX-License-Identifier: BSD-3-Clause

import { randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { NodeSSH } from 'node-ssh';
import type { Client, ClientChannel } from 'ssh2';
import { abortable } from './abortable.ts';
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

/** Where and with what environment a program runs. */
interface LineOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
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
/** Names the mark that a program of the lab carries in its environment. */
const markVariable = 'ZUFS_LAB_EXEC';
/** What ending a program may take: several programs of the guest run for that. */
const killMs = 30_000;
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
    // One listener a running program.
    client.setMaxListeners(0);
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
    const program = await this.#run(command, options);
    const stdout = collect(program.channel, options.onStdout);
    const stderr = collect(program.channel.stderr, options.onStderr);
    program.channel.end(options.input ?? '');
    const exitCode = await program.finished(options.signal);
    return { exitCode, stdout: stdout(), stderr: stderr() };
  }

  /** Run a program with its input and output connected to streams, byte for byte; gives its exit code. */
  async stream(command: readonly string[], options: StreamOptions): Promise<number> {
    const program = await this.#run(command, options);
    const { channel } = program;
    connect(channel, options.stdout);
    connect(channel.stderr, options.stderr);
    if (options.stdin === undefined) channel.end();
    else options.stdin.pipe(channel);
    try {
      return await program.finished(options.signal);
    } finally {
      options.stdin?.unpipe(channel);
    }
  }

  /** A login shell on a terminal, until it ends; gives its exit code. `attach` connects it. */
  async shell(
    terminal: { columns: number; rows: number; term: string },
    attach: (channel: ClientChannel) => void,
    signal: AbortSignal,
  ): Promise<number> {
    const { columns: cols, rows, term } = terminal;
    const program = await this.#begin((callback) =>
      this.#client.shell({ cols, rows, term, width: 0, height: 0 }, callback),
    );
    attach(program.channel);
    return await program.finished(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ssh.dispose();
  }

  /** Begin a program with a mark in its environment, by which it is found again when it has to be ended. */
  async #run(
    command: readonly string[],
    options: LineOptions & { readonly signal?: AbortSignal },
  ): Promise<Program> {
    const mark = randomBytes(8).toString('hex');
    const line = guestCommandLine(command, { ...options, env: { ...options.env, [markVariable]: mark } });
    const opening = this.#begin(
      (callback) => this.#client.exec(line, callback),
      () => this.#kill(mark),
    );
    return await abortable(opening, options.signal, (late) => void late.end());
  }

  /**
   * Kill a program with all that it started. sshd passes no signals on for root, and closing the channel leaves the program
   * running, so it is looked for.
   */
  async #kill(mark: string): Promise<void> {
    // Kernel threads and processes that are just ending have no environment to read: grep's exit code 2 for them is no matter.
    const search = `grep -lsz '^${markVariable}=${mark}$' /proc/[0-9]*/environ`;
    const limit = AbortSignal.timeout(killMs);
    // Until a search finds nobody: one that is just being forked, or has no environment as it is in the middle of exec, is
    // missed by a single search.
    for (;;) {
      const { stdout } = await this.exec(['sh', '-c', search], { signal: limit });
      const pids = [...stdout.matchAll(/^\/proc\/(\d+)\//gm)].map((match) => match[1]);
      if (pids.length === 0) return;
      await this.exec(['kill', '-KILL', ...pids], { signal: limit });
    }
  }

  async #begin(
    request: (callback: ClientCallback) => void,
    kill: () => Promise<void> = async () => undefined,
  ): Promise<Program> {
    if (this.#closed !== undefined) throw new SshClosedError(this.#closed);
    return await new Promise((resolve, reject) => {
      const onClose = (): void => reject(new SshClosedError(this.#closed));
      this.#client.once('close', onClose);
      try {
        request((error, channel) => {
          this.#client.off('close', onClose);
          // In this very turn: a short program's exit code may lie in the same packet as the channel's opening.
          if (error === undefined) resolve(new Program(channel, kill, this.#client));
          else reject(this.#closed === undefined ? error : new SshClosedError(this.#closed));
        });
      } catch (error) {
        // Not connected any more, and `close` is still to come.
        this.#client.off('close', onClose);
        this.#closed ??= error;
        reject(new SshClosedError(error));
      }
    });
  }
}

/** A program in the guest, from the opening of its channel on. */
class Program {
  readonly channel: ClientChannel;
  readonly #kill: () => Promise<void>;
  readonly #ended: Promise<number>;

  constructor(channel: ClientChannel, kill: () => Promise<void>, client: Client) {
    this.channel = channel;
    this.#kill = kill;
    this.#ended = new Promise((resolve, reject) => {
      let exitCode: number | undefined;
      const settle = (cause?: unknown): void => {
        client.off('close', onLost);
        if (exitCode === undefined) reject(new SshClosedError(cause));
        else resolve(exitCode);
      };
      // A connection that breaks does not close its channels as long as somebody is slow to read from them.
      const onLost = (): void => settle(new Error('closed by the other side'));
      client.on('close', onLost);
      channel.on('exit', (code: number | null, signalName?: string) => {
        exitCode = code ?? signalExitCode(signalName);
      });
      channel.on('error', settle);
      // After `close` every byte of output has been handed on.
      channel.on('close', () => settle());
    });
    // Whoever waits hears of it; nobody may be waiting yet.
    this.#ended.catch(() => undefined);
  }

  /** Kill it, with all that it started. */
  async end(): Promise<void> {
    // A guest that does not even get that done is about to be ended as a whole.
    await this.#kill().catch(() => undefined);
    this.channel.close();
  }

  /** Its exit code. When `signal` aborts, the program is killed, and this rejects with the signal's reason. */
  async finished(signal?: AbortSignal): Promise<number> {
    const aborted = Promise.withResolvers<never>();
    let killed = false;
    const onAbort = (): void => {
      killed = true;
      this.end().finally(() => aborted.reject(signal?.reason));
    };
    if (signal?.aborted) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const code = await Promise.race([this.#ended, aborted.promise]);
      // The kill that follows an abort ends the program, too, and may be heard of first: that is no exit code of its own.
      return killed ? await aborted.promise : code;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

type ClientCallback = (error: Error | undefined, channel: ClientChannel) => void;

/** What a shell gives for a program that a signal ended: 128 and its number. */
function signalExitCode(name: string | undefined): number {
  const number = constants.signals[(name?.startsWith('SIG') ? name : `SIG${name}`) as NodeJS.Signals];
  return 128 + (number ?? 0);
}

/**
 * The one place where arguments become a line: SSH carries a command as text for the guest's shell. Every word is quoted,
 * and `exec` puts the program in the shell's place, so that its signals and exit code are seen as they are.
 */
export function guestCommandLine(command: readonly string[], options: LineOptions = {}): string {
  if (command.length === 0) throw new TypeError('no command given');
  const assignments = Object.entries(options.env ?? {}).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new TypeError(`not an environment variable: ${name}`);
    return `${name}=${quote(value)}`;
  });
  const words = command.map(quote).join(' ');
  return [
    ...(options.cwd === undefined ? [] : [`cd ${quote(options.cwd)} &&`]),
    ...(assignments.length === 0 ? [] : [`export ${assignments.join(' ')} &&`]),
    `exec ${words}`,
  ].join(' ');
}

function quote(word: string): string {
  return /^[A-Za-z0-9_@%+:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Pipe, and read on for nobody once the target is gone: a channel whose output nobody takes never closes. */
function connect(source: Readable, target: Writable): void {
  target.on('unpipe', (unpiped) => {
    if (unpiped === source) source.resume();
  });
  source.pipe(target, { end: false });
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
