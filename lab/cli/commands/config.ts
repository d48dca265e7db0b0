// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import { stringify } from 'yaml';
import { userFileJsonSchema } from '../../config/schema.ts';
import { ExitCode } from '../../errors.ts';
import { runWithSettings } from '../run-command.ts';

export function register(program: Command): void {
  const config = program.command('config').description('the settings');

  config
    .command('show')
    .description('the settings in force: lab.yaml, your file, ZUFS_LAB_… variables, flags; the later wins')
    .action((_options: unknown, command: Command) =>
      runWithSettings(command, async (context) => {
        context.print(context.config, stringify(context.config).trimEnd());
        return ExitCode.ok;
      }),
    );

  config
    .command('schema')
    .description('JSON Schema of a settings file, for editors')
    .action(() => {
      process.stdout.write(`${JSON.stringify(userFileJsonSchema(), undefined, 2)}\n`);
    });
}
