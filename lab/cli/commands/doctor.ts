// SPDX-License-Identifier: BSD-3-Clause

import { styleText } from 'node:util';
import type { Command } from 'commander';
import { type Check, checkMachine } from '../../doctor/checks.ts';
import { ExitCode } from '../../errors.ts';
import { runWithSettings } from '../run-command.ts';

export function register(program: Command): void {
  program
    .command('doctor')
    .description('check this machine: what the lab needs, what is missing, and the command that mends it')
    .action((_options: unknown, command: Command) =>
      runWithSettings(command, async (context) => {
        const checks = await checkMachine(context);
        const ok = checks.every((check) => check.status !== 'missing');
        context.print({ ok, checks }, table(checks));
        return ok ? ExitCode.ok : ExitCode.labFailed;
      }),
    );
}

const marks = {
  ok: styleText('green', '✔'),
  note: styleText('yellow', '•'),
  missing: styleText('red', '✖'),
} as const;

function table(checks: readonly Check[]): string {
  const width = Math.max(...checks.map((check) => check.name.length));
  return checks
    .flatMap((check) => [
      `${marks[check.status]} ${check.name.padEnd(width)}  ${check.detail}`,
      ...(check.mend === undefined || check.mend === '' ? [] : [`  ${''.padEnd(width)}  → ${check.mend}`]),
    ])
    .join('\n');
}
