// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import { ExitCode } from '../../errors.ts';
import { obtainImage } from '../../image/build.ts';
import { runCommand } from '../run-command.ts';

export function register(program: Command): void {
  const image = program.command('image').description("the guest's root disk");

  image
    .command('build')
    .description('build the root disk, unless the cache has it (needs root while it builds)')
    .action((_options: unknown, command: Command) =>
      runCommand(command, async (context) => {
        const built = await context.step('Image', (step) => obtainImage(step));
        context.print(built, built.disk);
        return ExitCode.ok;
      }),
    );
}
