// SPDX-License-Identifier: BSD-3-Clause

import { LabError } from '../errors.ts';
import { lastLines } from '../vm/console.ts';
import type { GuestResult } from '../vm/vm.ts';

/** A program that has to succeed in the guest did not. */
export class GuestCommandError extends LabError {
  readonly command: readonly string[];
  readonly result: GuestResult;
  constructor(what: string, command: readonly string[], result: GuestResult, hint?: string) {
    const said = lastLines(result.stderr.trim() === '' ? result.stdout : result.stderr, 10);
    super(
      `${what}: \`${command.join(' ')}\` in the guest gave exit code ${result.exitCode}${said === '' ? '.' : ` and said:\n${indent(said)}\n`}`,
      hint === undefined ? {} : { hint },
    );
    this.command = command;
    this.result = result;
  }
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `  | ${line}`)
    .join('\n');
}
