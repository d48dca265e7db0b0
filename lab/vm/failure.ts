// SPDX-License-Identifier: BSD-3-Clause

import { LabError } from '../errors.ts';

/**
 * Something that became of a VM. Each way has its own class, and each carries the last lines of the console: the
 * message shows them, since they are what tells the reason.
 */
export class VmFailure extends LabError {
  readonly consoleTail: string;
  /** Path of the whole console log. */
  readonly consoleLog: string;
  /** `found`: what was found out of the guest, in lines, for the message. */
  constructor(
    message: string,
    details: { consoleTail: string; consoleLog: string; found?: string; hint?: string; cause?: unknown },
  ) {
    super(
      `${withConsole(message, details.consoleTail)}${details.found === undefined ? '' : `${details.found}\n`}`,
      {
        hint: `${details.hint === undefined ? '' : `${details.hint} `}The whole console is in ${details.consoleLog}.`,
        ...(details.cause === undefined ? {} : { cause: details.cause }),
      },
    );
    this.consoleTail = details.consoleTail;
    this.consoleLog = details.consoleLog;
  }
}

function withConsole(message: string, tail: string): string {
  if (tail === '') return `${message} The console is empty.`;
  return `${message} Last lines of the console:\n${tail
    .split('\n')
    .map((line) => `  | ${line}`)
    .join('\n')}\n`;
}

/** The guest's kernel panicked. */
export class GuestPanicError extends VmFailure {}

/** QEMU ended without a panic of the guest. */
export class QemuEndedError extends VmFailure {}

/** The guest did not say that it is ready within vm.bootTimeout. */
export class BootTimeoutError extends VmFailure {}

/** The guest said that it is ready, but nothing answers on its SSH port. */
export class SshUnreachableError extends VmFailure {}

/** The connection to a running guest broke. */
export class ConnectionLostError extends VmFailure {}

/** Something else listens on the port that the VM was to have. */
export class PortTakenError extends LabError {
  constructor(port: number, cause?: unknown) {
    super(`Port ${port} on 127.0.0.1 is taken, so the guest's SSH cannot have it.`, {
      hint: 'Set vm.sshPort to another port, or to 0 for a free one.',
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

/** The lab has no VM. */
export class LabNotUpError extends LabError {
  constructor(name: string) {
    super(`The lab '${name}' is not up.`, {
      hint: `Start it with: zufs-lab up${name === 'default' ? '' : ` --name ${name}`}`,
    });
  }
}
