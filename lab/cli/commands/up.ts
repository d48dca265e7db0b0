// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import type { LabContext } from '../../context.ts';
import type { MountedFileSystem } from '../../deploy/mounts.ts';
import { ExitCode } from '../../errors.ts';
import { type BootedLab, ensureMounted, ensureVm, obtainArtefacts } from '../../lifecycle.ts';
import { requireNoRun } from '../../run-lock.ts';
import { endLab } from '../../vm/running.ts';
import { runCommand } from '../run-command.ts';

export function register(program: Command): void {
  program
    .command('up')
    .description('from nothing, or what the caches have, to a VM with the file systems mounted')
    .option('--no-server', 'stop when the guest answers on SSH: no zus, no mounts')
    .action((options: { server: boolean }, command: Command) =>
      runCommand(command, async (context) => {
        // It would make and mount the file systems that a run has unmounted.
        await requireNoRun(context);
        const artefacts = await obtainArtefacts(context);
        const lab = await ensureVm(context, artefacts);
        await using _ = lab.vm;
        const mounts = options.server ? await mountedOrEnded(context, lab) : [];
        const where = mounts.map(({ target, type }) => `${type} on ${target}`).join(', ');
        context.print(
          { ...lab.state, booted: lab.booted, mounts },
          `The lab '${context.name}' is up${where === '' ? '' : `: ${where}`}. Next: ${next(context.name, options.server)}`,
        );
        return ExitCode.ok;
      }),
    );
}

/** A VM that this command booted is of no use without its mounts: it goes when they fail, or are interrupted. */
async function mountedOrEnded(context: LabContext, lab: BootedLab): Promise<readonly MountedFileSystem[]> {
  try {
    return await ensureMounted(context, lab);
  } catch (error) {
    if (lab.booted) await endLab(context, context.name, context.stateDir, { keepLogs: true });
    throw error;
  }
}

function next(name: string, mounted: boolean): string {
  const lab = name === 'default' ? '' : ` --name ${name}`;
  return `npx zufs-lab${lab} ${mounted ? 'exec -- findmnt -t zpmfs' : 'ssh'}`;
}
