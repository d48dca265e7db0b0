// SPDX-License-Identifier: BSD-3-Clause

import { type Command, Option } from 'commander';
import { ExitCode } from '../../errors.ts';
import { buildKernel } from '../../kernel/build.ts';
import { exportSeries } from '../../kernel/export.ts';
import { runCommand } from '../run-command.ts';

export function register(program: Command): void {
  const kernel = program.command('kernel').description('the kernel: build it, export our changes to it');

  kernel
    .command('build')
    .description('build the kernel of the settings, unless it is in the cache')
    .addOption(
      new Option('--flavour <flavour>', 'the same as --set kernel.flavour=…').choices(['release', 'debug']),
    )
    .action((options: { flavour?: 'release' | 'debug' }, command: Command) =>
      runCommand(command, async (context) => {
        const flavour = options.flavour ?? context.config.kernel.flavour;
        const config = { ...context.config, kernel: { ...context.config.kernel, flavour } };
        const built = await buildKernel({ ...context, config });
        context.print(
          built,
          `${built.release} (${flavour}${built.hit ? ', from the cache' : ''}): ${built.bzImage}`,
        );
        return ExitCode.ok;
      }),
    );

  kernel
    .command('export-series')
    .description('write our changes as a series of patches for git am')
    .argument('<directory>', 'an empty or new directory')
    .action((directory: string, _options: unknown, command: Command) =>
      runCommand(command, async (context) => {
        const series = await exportSeries(directory, context);
        context.print(series, series.files.join('\n'));
        return ExitCode.ok;
      }),
    );
}
