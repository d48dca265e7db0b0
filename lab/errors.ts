// SPDX-License-Identifier: BSD-3-Clause

/** Exit codes of `zufs-lab`, the same for every command. */
export const ExitCode = { ok: 0, testsFailed: 1, labFailed: 2, interrupted: 130 } as const;

/**
 * Something the user can act on. `message` says in one sentence what failed and on which input; `hint`, when there is
 * one, in a second sentence what to do. The command line prints just these two; `--verbose` adds the cause chain.
 */
export class LabError extends Error {
  readonly hint: string | undefined;
  readonly exitCode: number;
  constructor(
    message: string,
    options: { hint?: string | undefined; cause?: unknown; exitCode?: number } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = new.target.name;
    this.hint = options.hint;
    this.exitCode = options.exitCode ?? ExitCode.labFailed;
  }
}

/** A setting that is unknown, of the wrong type or out of range; names file and line where it has one. */
export class ConfigError extends LabError {}

/** A tool, a right or a resource that the machine lacks. */
export class MissingPrerequisiteError extends LabError {}

/** A program that was run for the user exited with a failure. */
export class CommandFailedError extends LabError {
  readonly command: readonly string[];
  /** Exit code, or null when a signal ended it. */
  readonly commandExitCode: number | null;
  /** The last lines it printed. */
  readonly outputTail: string;
  constructor(
    message: string,
    details: {
      command: readonly string[];
      exitCode: number | null;
      outputTail: string;
      hint?: string;
      cause?: unknown;
    },
  ) {
    super(message, {
      ...(details.hint === undefined ? {} : { hint: details.hint }),
      ...(details.cause === undefined ? {} : { cause: details.cause }),
    });
    this.command = details.command;
    this.commandExitCode = details.exitCode;
    this.outputTail = details.outputTail;
  }
}

/** The user interrupted the command; everything it started has been ended. */
export class InterruptedError extends LabError {
  constructor() {
    super('Interrupted.', { exitCode: ExitCode.interrupted });
  }
}
