// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import { ExitCode } from '../../errors.ts';
import { runSmoke } from '../../smoke/run.ts';
import { describeStep, smokeSummary } from '../../smoke/summary.ts';
import { requireLab } from '../../vm/running.ts';
import { runCommand } from '../run-command.ts';

export function register(program: Command): void {
  program
    .command('smoke')
    .description(
      "the lab's own quick check of the mounted test file system: files, directories, links, rename, 64 MiB, mmap, remount, fsck",
    )
    .addHelpText('after', '\nExit code 1 when a step fails, 2 when the lab is broken.')
    .action((_options: unknown, command: Command) =>
      runCommand(command, async (context) => {
        const lab = await requireLab(context);
        await using vm = lab.vm;
        const report = await context.step('Smoke run', (step) =>
          runSmoke(step, vm, lab.state, (ended) => {
            if (!context.json) context.print(ended, describeStep(ended));
          }),
        );
        context.print(report, smokeSummary(report));
        return report.passed ? ExitCode.ok : ExitCode.testsFailed;
      }),
    );
}
