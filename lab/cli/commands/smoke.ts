// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import { withRunLock } from '../../run-lock.ts';
import { requireLab } from '../../vm/running.ts';
import { runCommand } from '../run-command.ts';
import { smokeVerdict } from '../smoke-verdict.ts';

export function register(program: Command): void {
  program
    .command('smoke')
    .description(
      "the lab's own quick check of the mounted test file system: files, directories, links, rename, 64 MiB, mmap, remount, fsck",
    )
    .addHelpText('after', '\nExit code 1 when a step fails, 2 when the lab is broken.')
    .action((_options: unknown, command: Command) =>
      runCommand(command, async (context) => {
        return await withRunLock([context], async () => {
          const lab = await requireLab(context);
          await using _ = lab.vm;
          return await smokeVerdict(context, lab);
        });
      }),
    );
}
