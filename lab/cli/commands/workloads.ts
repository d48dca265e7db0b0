// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type { Command } from 'commander';
import { readWorkloads, secondsOf, selectWorkloads, type Workload } from '../../../workloads/definition.ts';
import { runWorkloadsInLab, runWorkloadsOnSwarm } from '../../../workloads/in-lab.ts';
import { ExitCode, LabError } from '../../errors.ts';
import { terminalSummary } from '../../test-run/report/summary.ts';
import { exitCodeOf } from '../../test-run/verdict.ts';
import { commaList, count, duration, type Engine, engineOption } from '../option-values.ts';
import { runCommand } from '../run-command.ts';

interface Options {
  readonly only: readonly string[];
  readonly time?: number;
  readonly short: boolean;
  readonly fs?: string;
  readonly engine: Engine;
  readonly shards?: number;
  readonly list?: true;
  readonly keep?: true;
}

export function register(program: Command): void {
  program
    .command('workloads')
    .description(
      'real programs on the mount: git, a kernel build, databases that are killed, fio, dbench, stress-ng, fsx',
    )
    .option('--only <list>', 'some of them: git,sqlite', commaList, [])
    .option('--time <time>', 'how long those run that know no end: 90s, 30m, 2h', duration)
    .option('--short', 'the short form of each, minutes in all', false)
    .option('--fs <type>', 'the file system: zpmfs, ext4 or xfs (default: mount.filesystem)')
    .addOption(engineOption())
    .option(
      '--shards <n>',
      'with --engine swarm: VMs, each of which takes one workload after the other',
      count,
    )
    .option('--list', 'what there is, and what makes it pass')
    .option('--keep', 'the lab stays up afterwards, to be looked at')
    .addHelpText(
      'after',
      `
They run in a lab of their own, named after yours (default-workloads), whose image has more packages and whose NVDIMMs are larger.
With --engine swarm they run in tasks of a Docker Swarm (docs/scale.md), those that took long the last time first.
Exit code 1 when one failed, 2 when the lab failed or nothing ran.

  npx zufs-lab workloads --short
  npx zufs-lab workloads --short --engine swarm --shards 4
  npx zufs-lab workloads --only sqlite,postgresql --time 10m`,
    )
    .action((options: Options, command: Command) =>
      runCommand(command, async (context) => {
        const all = await readWorkloads(context.packageRoot);
        const workloads = selectWorkloads(all, options.only);
        if (options.list) {
          context.print(workloads, workloads.map(described).join('\n'));
          return ExitCode.ok;
        }
        requirePossible(options);
        const request = {
          workloads,
          length: {
            short: options.short,
            ...(options.time === undefined ? {} : { time: options.time }),
          },
          // Not beside those of xfstests, of which the latest is gone on with.
          resultsRoot: join(context.packageRoot, 'build', 'workloads'),
          ...(options.fs === undefined ? {} : { fileSystem: options.fs }),
        };
        const { report, directory } =
          options.engine === 'swarm'
            ? await runWorkloadsOnSwarm(context, request, options.shards ?? 1)
            : await runWorkloadsInLab(context, request, { keep: options.keep === true });
        context.print(report, terminalSummary(report, directory));
        return exitCodeOf(report.verdict);
      }),
    );
}

function described(workload: Workload): string {
  const seconds = secondsOf(workload, { short: false });
  const long = seconds === 0 ? 'to its end' : `${seconds} s`;
  return `${workload.name} (${long}): ${workload.about}\n    passes when: ${workload.checks}`;
}

function requirePossible({ engine, shards, keep }: Options): void {
  if (engine === 'swarm' && keep) throw new LabError('--keep: the VMs of tasks end with their run.');
  if (engine === 'local' && shards !== undefined) {
    throw new LabError(
      '--shards goes with --engine swarm: on this machine one VM runs one workload after the other.',
    );
  }
}
