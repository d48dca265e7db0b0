// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type { Command } from 'commander';
import { ExitCode, LabError } from '../../errors.ts';
import { bisect } from '../../kernel/bisect.ts';
import { endLab } from '../../vm/running.ts';
import { siblingStateDir } from '../../vm/state.ts';
import { type GlobalOptions, globalOptions } from '../options.ts';
import { runCommand } from '../run-command.ts';

interface Options {
  readonly good: string;
  readonly bad: string;
  readonly tree?: string;
  readonly test?: string;
  readonly fs?: string;
}

export function register(program: Command): void {
  program
    .command('bisect')
    .description('find the kernel commit that broke a test: git bisect, with the lab as the judge')
    .requiredOption('--good <commit>', 'a commit at which the test passes')
    .option('--bad <commit>', 'a commit at which it fails', 'HEAD')
    .option('--tree <directory>', 'the kernel git tree (default: kernel.source, if that is a directory)')
    .option('--test <name>', 'the xfstests test that judges: generic/013')
    .option('--fs <type>', 'the file system that it runs on, as of xfstests')
    .argument(
      '[command...]',
      'a judge of your own instead, after --: 0 good, 1 bad, 2 skip; runs in the tree',
    )
    .addHelpText(
      'after',
      `
Your tree is not touched: the search has a worktree and a lab of its own. Both ends are tried first. A commit that does not build
or boot, or to which our patches do not apply, is skipped.

  npx zufs-lab bisect --tree ~/linux --good v6.12 --bad my-branch --test generic/013 --fs ext4-dax`,
    )
    .action((command: readonly string[], options: Options, self: Command) =>
      runCommand(self, async (context) => {
        const tree = options.tree ?? context.config.kernel.source;
        const name = `${context.name}-bisect`;
        const worktree = join(siblingStateDir(context, name), 'bisect');
        try {
          const result = await context.step('Bisect', (step) =>
            bisect(
              {
                tree,
                good: options.good,
                bad: options.bad,
                worktree,
                judge: judgeOf(options, command, name, worktree, globalOptions(self)),
              },
              step,
            ),
          );
          const { firstBad, subject, conclusion } = result;
          context.print(
            result,
            firstBad === undefined ? conclusion : `The first bad commit is ${firstBad} ("${subject}").`,
          );
          return firstBad === undefined ? ExitCode.labFailed : ExitCode.ok;
        } finally {
          await endLab(context, name, siblingStateDir(context, name), { keepLogs: true });
        }
      }),
    );
}

function judgeOf(
  { test, fs }: Options,
  command: readonly string[],
  name: string,
  worktree: string,
  { set, config }: GlobalOptions,
): readonly string[] {
  if (command.length > 0 && test === undefined) return command;
  if (command.length > 0 || test === undefined) {
    throw new LabError('One judge is needed: --test, or a command after --.');
  }
  return [
    process.execPath,
    process.argv[1],
    ...[
      '--name',
      name,
      ...set.flatMap((setting) => ['--set', setting]),
      '--set',
      `kernel.source=${worktree}`,
    ],
    ...(config === undefined ? [] : ['--config', config]),
    ...['xfstests', '--tests', test, '--build', ...(fs === undefined ? [] : ['--fs', fs])],
  ];
}
