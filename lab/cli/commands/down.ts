// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import { ExitCode } from '../../errors.ts';
import { described, endRun } from '../../run-lock.ts';
import { endLab, labsWithPrograms } from '../../vm/running.ts';
import { labNames, readState, siblingStateDir } from '../../vm/state.ts';
import { runCommand } from '../run-command.ts';

export function register(program: Command): void {
  program
    .command('down')
    .description('end the lab and everything that runs for it, also after zufs-lab itself was killed')
    .option('--all', 'every lab, not just the one named')
    .option('--keep-logs', 'leave console and QEMU logs in the state directory')
    .action((options: { all?: true; keepLogs?: true }, command: Command) =>
      runCommand(command, async (context) => {
        const names = options.all
          ? [...new Set([...(await labNames(context)), ...(await labsWithPrograms(context))])].sort()
          : [context.name];
        const labs = [];
        for (const name of names) {
          const stateDir = siblingStateDir(context, name);
          const hadState = (await readState(stateDir).catch(() => undefined)) !== undefined;
          const run = await endRun(stateDir);
          const ended = await endLab(context, name, stateDir, { keepLogs: options.keepLogs === true });
          if (ended > 0 || hadState || !options.all) labs.push({ name, ended });
          if (run !== undefined)
            context.progress.note(`A run has lost the lab '${name}': ${described(run)}.`);
        }
        const lines = labs.map(({ name, ended }) =>
          ended === 0
            ? `The lab '${name}' is down; nothing was running.`
            : `The lab '${name}' is down (${ended} ended).`,
        );
        context.print({ labs }, labs.length === 0 ? 'No lab is up.' : lines.join('\n'));
        return ExitCode.ok;
      }),
    );
}
