// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import { ExitCode } from '../../errors.ts';
import { runSmoke, type SmokeStep } from '../../smoke/run.ts';
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
            if (!context.json) context.print(ended, describe(ended));
          }),
        );
        const { steps, filesystem, mount, passed } = report;
        const failed = steps.filter(({ ok }) => !ok).length;
        context.print(
          report,
          `Smoke run on ${filesystem} at ${mount}: ${passed ? 'passed' : 'FAILED'}, ${steps.length - failed} of ${steps.length} steps passed${passed ? '' : '; the later ones were not run'}.`,
        );
        return passed ? ExitCode.ok : ExitCode.testsFailed;
      }),
    );
}

function describe({ step, ok, ms, error }: SmokeStep): string {
  const line = `${ok ? 'pass' : 'FAIL'}  ${step} (${ms} ms)`;
  return error === undefined ? line : `${line}\n      ${error.replaceAll('\n', '\n      ')}`;
}
