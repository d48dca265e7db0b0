// SPDX-License-Identifier: BSD-3-Clause

import { type Command, InvalidArgumentError } from 'commander';
import { findReport } from '../../../xfstests-runner/stored-runs.ts';
import { ExitCode } from '../../errors.ts';
import { compareRuns, comparisonText } from '../../test-run/compare.ts';
import { runWithSettings } from '../run-command.ts';

export function register(program: Command): void {
  program
    .command('compare')
    .description('what one xfstests run has that another had not: new failures, fixed, newly not run, slower')
    .argument('<before>', 'a run, a baseline, the path of either, or latest')
    .argument('<after>', 'the same')
    .option('--slower <factor>', 'a test is slower from this many times its earlier seconds on', factor, 1.5)
    .addHelpText('after', '\nExit code 1 when there are new failures.')
    .action((before: string, after: string, options: { slower: number }, command: Command) =>
      runWithSettings(command, async (context) => {
        const comparison = compareRuns(
          await findReport(context, before),
          await findReport(context, after),
          options.slower,
        );
        context.print(comparison, comparisonText(comparison));
        return comparison.newFailures.length === 0 ? ExitCode.ok : ExitCode.testsFailed;
      }),
    );
}

function factor(value: string): number {
  const number = Number(value);
  if (number > 1) return number;
  throw new InvalidArgumentError('A number above 1.');
}
