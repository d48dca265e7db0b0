// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabContext } from '../context.ts';
import type { Background } from '../runtime/runtime.ts';
import { abortable } from './abortable.ts';
import { ConsoleLog, lastLines, panicLines, scanConsole } from './console.ts';
import {
  BootTimeoutError,
  GuestPanicError,
  PortTakenError,
  QemuEndedError,
  SshUnreachableError,
} from './failure.ts';
import { describeSilentGuest } from './silent-guest.ts';
import { HostKeyError, type SshAddress, SshConnection } from './ssh.ts';
import { vmPaths } from './state.ts';

const pollMs = 100;
/** What SSH gets after the ready line, however late that came. */
const leastSshMs = 15_000;

/** Watches a guest come up, and tells the ways in which it may not. */
export class BootWatch {
  readonly #context: LabContext;
  readonly #background: Background;
  readonly #port: number;
  readonly #console: ConsoleLog;
  readonly #deadline: number;

  constructor(context: LabContext, background: Background, port: number) {
    this.#context = context;
    this.#background = background;
    this.#port = port;
    this.#console = new ConsoleLog(vmPaths(context.stateDir).consoleLog);
    this.#deadline = performance.now() + context.config.vm.bootTimeout * 1000;
  }

  /** Guest seconds from the kernel's start to init's ready line. */
  async untilReady(): Promise<number> {
    const { config, progress, signal } = this.#context;
    for (;;) {
      // Before the console is read: what QEMU wrote at its end is then seen.
      const running = await this.#background.running();
      await this.#console.read();
      const { readyAfter, panic } = scanConsole(this.#console.text);
      if (readyAfter !== undefined) return readyAfter;
      if (panic !== undefined || !running) throw await this.#ended(panic);
      if (performance.now() > this.#deadline) {
        throw new BootTimeoutError(
          `The guest was not ready within ${config.vm.bootTimeout} s.`,
          this.#details('On a busy or slow machine raise vm.bootTimeout.'),
        );
      }
      progress.update(lastLines(this.#console.text, 1));
      await sleep(pollMs, undefined, { signal });
    }
  }

  async untilSsh(address: SshAddress): Promise<SshConnection> {
    const { progress, signal } = this.#context;
    const deadline = Math.max(this.#deadline, performance.now() + leastSshMs);
    progress.update('waiting for SSH');
    for (;;) {
      let cause: unknown;
      try {
        const connecting = SshConnection.connect(address, deadline - performance.now());
        return await abortable(connecting, signal, (late) => void late[Symbol.asyncDispose]());
      } catch (error) {
        signal.throwIfAborted();
        cause = error;
      }
      await this.#console.read();
      const { panic } = scanConsole(this.#console.text);
      if (panic !== undefined || !(await this.#background.running())) throw await this.#ended(panic);
      if (cause instanceof HostKeyError || performance.now() > deadline) {
        const details = this.#details();
        progress.update('asking the guest on its serial line');
        const found = await describeSilentGuest(this.#context.stateDir);
        throw new SshUnreachableError(
          `The guest is up, but its SSH on ${address.host}:${address.port} cannot be used: ${cause instanceof Error ? cause.message : cause}.`,
          { ...details, found, cause },
        );
      }
      await sleep(pollMs, undefined, { signal });
    }
  }

  async #ended(panic: string | undefined): Promise<Error> {
    const { consoleTail, ...details } = this.#details();
    if (panic !== undefined) {
      // The rest of the message and the trace.
      await sleep(2 * pollMs);
      await this.#console.read();
      return new GuestPanicError(`The guest's kernel panicked while booting: ${panic}.`, {
        ...details,
        consoleTail: panicLines(this.#console.text),
      });
    }
    const qemuLog = await readFile(vmPaths(this.#context.stateDir).qemuLog, 'utf8').catch(() => '');
    if (/Could not set up host forwarding rule/.test(qemuLog)) return new PortTakenError(this.#port);
    const said = lastLines(qemuLog, 3);
    return new QemuEndedError(
      `QEMU ended before the guest was ready${said === '' ? '.' : `: ${said.replaceAll('\n', '; ')}`}`,
      { ...details, consoleTail },
    );
  }

  #details(hint?: string): { consoleTail: string; consoleLog: string; hint?: string } {
    return {
      consoleTail: lastLines(this.#console.text),
      consoleLog: this.#console.path,
      ...(hint === undefined ? {} : { hint }),
    };
  }
}
