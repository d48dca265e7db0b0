// SPDX-License-Identifier: BSD-3-Clause

import { type Command, InvalidArgumentError, Option } from 'commander';
import { FILE_SYSTEMS } from '../../../xfstests-runner/filesystems.ts';
import { runXfstestsInLab } from '../../../xfstests-runner/in-lab.ts';
import { terminalSummary } from '../../../xfstests-runner/report/summary.ts';
import type { Selection } from '../../../xfstests-runner/selection.ts';
import { exitCodeOf } from '../../../xfstests-runner/verdict.ts';
import { runCommand } from '../run-command.ts';

interface Options {
  readonly tests?: readonly string[];
  readonly group?: string;
  readonly exclude?: readonly string[];
  readonly fs?: string;
  readonly timeout?: number;
}

export function register(program: Command): void {
  program
    .command('xfstests')
    .description('run xfstests in the lab, which is brought up if it is not')
    .option('--tests <list>', 'tests by name: generic/001,generic/013', commaList)
    .option('--group <group>', 'every generic test of a group, e.g. quick')
    .option('--exclude <list>', 'tests to leave out', commaList)
    .addOption(
      new Option('--fs <type>', 'the file system under test (default: mount.filesystem)').choices(
        FILE_SYSTEMS,
      ),
    )
    .option('--timeout <seconds>', 'what one test may take (default: xfstests.testTimeout)', seconds)
    .addHelpText(
      'after',
      `
Without --tests and --group: those of the settings, else the lab's own list of quick tests.
Exit code 1 when a test failed, 2 when the lab failed or nothing ran.

  npx zufs-lab xfstests --tests generic/001,generic/013
  npx zufs-lab xfstests --group quick --fs ext4-dax`,
    )
    .action((options: Options, command: Command) =>
      runCommand(command, async (context) => {
        const { report, directory } = await runXfstestsInLab(context, {
          ...(options.fs === undefined ? {} : { fileSystem: options.fs }),
          ...(options.timeout === undefined ? {} : { testTimeout: options.timeout }),
          ...selectionOf(options),
        });
        context.print(report, terminalSummary(report, directory));
        return exitCodeOf(report.verdict);
      }),
    );
}

/** `--exclude` alone takes away from what the settings or the default list select. */
function selectionOf({ tests, group, exclude }: Options): { readonly selection: Partial<Selection> } {
  return {
    selection: {
      ...(tests === undefined ? {} : { tests }),
      ...(group === undefined ? {} : { group }),
      ...(exclude === undefined ? {} : { exclude }),
    },
  };
}

function commaList(value: string, previous: readonly string[] = []): string[] {
  return [...previous, ...value.split(',').filter((word) => word !== '')];
}

function seconds(value: string): number {
  const number = Number(value);
  if (Number.isInteger(number) && number > 0) return number;
  throw new InvalidArgumentError('A whole number of seconds, 1 or more.');
}
