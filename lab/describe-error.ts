// SPDX-License-Identifier: BSD-3-Clause

import { styleText } from 'node:util';
import { CommandFailedError, LabError } from './errors.ts';

const systemErrors: Readonly<Record<string, string>> = {
  ENOSPC: 'No disk space',
  EDQUOT: 'No disk space',
  EROFS: 'Read-only file system',
  EACCES: 'Permission denied',
};

/** An error of the system that the user can mend, wherever it came up, as an error of the lab; any other as it is. */
export function asLabError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof LabError) return error;
  const { code, path, syscall } = error as NodeJS.ErrnoException;
  const what = systemErrors[code ?? ''];
  if (what === undefined || syscall === undefined) return error;
  return new LabError(`${what}: ${syscall} ${path ?? ''}`.trimEnd().concat('.'), { cause: error });
}

/** What the command line prints of an error: one or two sentences; with `verbose` the causes and the program's last lines. */
export function describeError(error: unknown, options: { verbose: boolean }): string {
  const prefix = styleText('red', 'zufs-lab:', { stream: process.stderr });
  if (!(error instanceof LabError)) {
    // Not foreseen, so a fault of the lab itself: the stack is what whoever mends it needs.
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return options.verbose
      ? `${prefix} this is a fault of the lab itself:\n${text}\n`
      : `${prefix} ${error instanceof Error ? error.message : text} (a fault of the lab itself; --verbose shows where)\n`;
  }
  const sentences = [error.message, options.verbose ? undefined : lastWord(error), error.hint];
  const lines = [`${prefix} ${sentences.filter((sentence) => sentence !== undefined).join(' ')}`];
  if (options.verbose) lines.push(...details(error));
  return `${lines.join('\n')}\n`;
}

/** A failed program's last line, unless the message has it: it mostly says why. */
function lastWord(error: LabError): string | undefined {
  if (!(error instanceof CommandFailedError)) return undefined;
  const line = error.outputTail.trimEnd().split('\n').at(-1)?.trim() ?? '';
  return line === '' || error.message.includes(line) ? undefined : `It said: ${line}`;
}

function details(error: LabError): string[] {
  const lines: string[] = [];
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at !== error) lines.push(`  because: ${at.message}`);
    if (at instanceof CommandFailedError) {
      lines.push(`  command: ${at.command.join(' ')}`);
      if (at.outputTail !== '') lines.push(...at.outputTail.split('\n').map((line) => `  | ${line}`));
    }
  }
  return lines;
}
