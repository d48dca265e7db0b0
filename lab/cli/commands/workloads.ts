// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type { Command } from 'commander';
import { readWorkloads, secondsOf, selectWorkloads, type Workload } from '../../../workloads/definition.ts';
import { runWorkloads } from '../../../workloads/run.ts';
import { terminalSummary } from '../../../xfstests-runner/report/summary.ts';
import { exitCodeOf } from '../../../xfstests-runner/verdict.ts';
import type { LabConfig } from '../../config/schema.ts';
import type { LabContext } from '../../context.ts';
import { ExitCode } from '../../errors.ts';
import { packageNames } from '../../image/packages.ts';
import { obtainArtefacts } from '../../lifecycle.ts';
import { endLab } from '../../vm/running.ts';
import { siblingStateDir } from '../../vm/state.ts';
import { commaList, duration } from '../option-values.ts';
import { runCommand } from '../run-command.ts';

interface Options {
  readonly only: readonly string[];
  readonly time?: number;
  readonly short: boolean;
  readonly fs?: string;
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
    .option('--list', 'what there is, and what makes it pass')
    .option('--keep', 'the lab stays up afterwards, to be looked at')
    .addHelpText(
      'after',
      `
They run in a lab of their own, named after yours (default-workloads), whose image has more packages and whose NVDIMMs are larger.
Exit code 1 when one failed, 2 when the lab failed or nothing ran.

  npx zufs-lab workloads --short
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
        const lab = await workloadContext(context, options.fs);
        const length = {
          short: options.short,
          ...(options.time === undefined ? {} : { time: options.time }),
        };
        try {
          const artefacts = await obtainArtefacts(lab);
          const { report, directory } = await runWorkloads(lab, artefacts, {
            workloads,
            length,
            // Not beside those of xfstests, of which the latest is gone on with.
            resultsRoot: join(context.packageRoot, 'build', 'workloads'),
          });
          context.print(report, terminalSummary(report, directory));
          return exitCodeOf(report.verdict);
        } finally {
          if (!options.keep) await endLab(lab, lab.name, lab.stateDir, { keepLogs: true });
        }
      }),
    );
}

function described(workload: Workload): string {
  const seconds = secondsOf(workload, { short: false });
  const long = seconds === 0 ? 'to its end' : `${seconds} s`;
  return `${workload.name} (${long}): ${workload.about}\n    passes when: ${workload.checks}`;
}

/** The user's lab with what workloads need besides, as a lab beside it. */
async function workloadContext(context: LabContext, fs: string | undefined): Promise<LabContext> {
  const name = `${context.name}-workloads`;
  const more = await packageNames(join(context.packageRoot, 'workloads', 'packages.yaml'));
  const { config } = context;
  const wanted: LabConfig = {
    ...config,
    image: { ...config.image, size: '4G', packages: [...config.image.packages, ...more] },
    // A kernel tree, its repository and its objects.
    vm: { ...config.vm, pmemSize: '3G', pmemPerNode: 1 },
    ...(fs === undefined ? {} : { mount: { ...config.mount, filesystem: fs } }),
  };
  return { ...context, name, stateDir: siblingStateDir(context, name), config: wanted };
}
