// SPDX-License-Identifier: BSD-3-Clause

import { setTimeout as sleep } from 'node:timers/promises';
import type { Background, TaskContext } from '../runtime/runtime.ts';
import { abortable } from './abortable.ts';
import { lastLines, panicLines, readConsole, scanConsole } from './console.ts';
import { ConnectionLostError, GuestPanicError, QemuEndedError, type VmFailure } from './failure.ts';
import { describeSilentGuest } from './silent-guest.ts';
import { type SshAddress, SshClosedError, SshConnection, type StreamOptions } from './ssh.ts';
import { vmPaths } from './state.ts';
import { download, upload } from './transfer.ts';
import type { GuestExecOptions, GuestResult, Vm, VmHealth } from './vm.ts';

/** After a lost connection: time for a panic to reach the console, or for QEMU to end. */
const settleMs = 2000;
const pollMs = 100;
/** A guest that takes longer than this to run `true` is no use to anyone, whatever it is busy with. */
const answerMs = 60_000;

/** A VM of which QEMU runs. Connects when first used, and again after the connection broke. Closing it leaves the VM running. */
export class GuestVm implements Vm, AsyncDisposable {
  readonly name: string;
  readonly consoleLog: string;
  readonly #stateDir: string;
  readonly #background: Background;
  readonly #address: SshAddress;
  #connection: Promise<SshConnection> | undefined;
  #closed = false;

  constructor(parts: {
    readonly name: string;
    /** Of the lab that the VM belongs to. */
    readonly stateDir: string;
    readonly background: Background;
    readonly address: SshAddress;
    readonly connection?: SshConnection;
  }) {
    this.name = parts.name;
    this.#stateDir = parts.stateDir;
    this.consoleLog = vmPaths(parts.stateDir).consoleLog;
    this.#background = parts.background;
    this.#address = parts.address;
    if (parts.connection !== undefined) this.#connection = Promise.resolve(parts.connection);
  }

  async exec(command: readonly string[], options: GuestExecOptions = {}): Promise<GuestResult> {
    return await this.#use(options.signal, (ssh) => ssh.exec(command, options));
  }

  /** As `exec`, with standard input, output and error connected to streams; gives the exit code. */
  async stream(command: readonly string[], options: StreamOptions): Promise<number> {
    return await this.#use(options.signal, (ssh) => ssh.stream(command, options));
  }

  async upload(hostPath: string, guestPath: string, context: TaskContext): Promise<void> {
    await this.#use(context.signal, (ssh) => upload(ssh, hostPath, guestPath, context.signal));
  }

  async download(guestPath: string, hostPath: string, context: TaskContext): Promise<void> {
    await this.#use(context.signal, (ssh) => download(ssh, guestPath, hostPath, context.signal));
  }

  async health(): Promise<VmHealth> {
    const text = await readConsole(this.consoleLog);
    if (scanConsole(text).panic !== undefined) return { state: 'panicked', consoleTail: panicLines(text) };
    if (!(await this.#background.running())) {
      const { code } = await this.#background.wait(AbortSignal.timeout(pollMs));
      return { state: 'qemu-ended', code, consoleTail: lastLines(text) };
    }
    try {
      const ssh = await this.#connect();
      await ssh.exec(['true'], { signal: AbortSignal.timeout(answerMs) });
      return { state: 'running' };
    } catch {
      return { state: 'unreachable', consoleTail: lastLines(text) };
    }
  }

  /** Call `body` with the connection, for what the methods above do not offer. */
  async withConnection<T>(signal: AbortSignal, body: (ssh: SshConnection) => Promise<T>): Promise<T> {
    return await this.#use(signal, body);
  }

  /** What is still under way in it fails, and does not connect again: nobody would close that connection, which keeps a process alive. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const connection = await this.#connection?.catch(() => undefined);
    this.#connection = undefined;
    await connection?.[Symbol.asyncDispose]();
  }

  async #connect(): Promise<SshConnection> {
    // One after the other, so that two who find it broken do not make two.
    this.#connection = this.#sound(this.#connection);
    return await this.#connection;
  }

  async #sound(last: Promise<SshConnection> | undefined): Promise<SshConnection> {
    const connection = await last?.catch(() => undefined);
    if (connection !== undefined && !connection.closed) return connection;
    if (this.#closed) throw new SshClosedError(new Error('closed by this side'));
    return await SshConnection.connect(this.#address);
  }

  async #use<T>(signal: AbortSignal | undefined, body: (ssh: SshConnection) => Promise<T>): Promise<T> {
    let ssh: SshConnection;
    try {
      ssh = await abortable(this.#connect(), signal);
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#closed ? error : await this.#failure(error);
    }
    try {
      return await body(ssh);
    } catch (error) {
      throw error instanceof SshClosedError && !this.#closed ? await this.#failure(error) : error;
    }
  }

  /** What became of the VM, given that its connection is no more. */
  async #failure(cause: unknown): Promise<VmFailure> {
    const deadline = performance.now() + settleMs;
    for (;;) {
      const text = await readConsole(this.consoleLog);
      const { panic } = scanConsole(text);
      const details = { consoleTail: lastLines(text), consoleLog: this.consoleLog, cause };
      if (panic !== undefined) {
        return new GuestPanicError(`The guest's kernel panicked: ${panic}.`, {
          ...details,
          consoleTail: panicLines(text),
        });
      }
      if (!(await this.#background.running())) {
        return new QemuEndedError(`QEMU of the lab '${this.name}' has ended.`, details);
      }
      if (performance.now() > deadline) {
        return new ConnectionLostError(
          `The guest of the lab '${this.name}' runs, but its SSH does not answer.`,
          { ...details, found: await describeSilentGuest(this.#stateDir) },
        );
      }
      await sleep(pollMs);
    }
  }
}
