// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import { ExitCode } from '../../errors.ts';
import { ensureMounted, ensureVm, obtainArtefacts } from '../../lifecycle.ts';
import { runCommand } from '../run-command.ts';

export function register(program: Command): void {
  program
    .command('up')
    .description('from nothing, or what the caches have, to a VM with the file systems mounted')
    .option('--no-server', 'stop when the guest answers on SSH: no zus, no mounts')
    .action((options: { server: boolean }, command: Command) =>
      runCommand(command, async (context) => {
        const artefacts = await obtainArtefacts(context);
        const lab = await ensureVm(context, artefacts);
        await using _ = lab.vm;
        const mounts = options.server ? await ensureMounted(context, lab) : [];
        const where = mounts.map(({ target, type }) => `${type} on ${target}`).join(', ');
        context.print(
          { ...lab.state, booted: lab.booted, mounts },
          `The lab '${context.name}' is up${where === '' ? '' : `: ${where}`}. Next: ${next(context.name, options.server)}`,
        );
        return ExitCode.ok;
      }),
    );
}

function next(name: string, mounted: boolean): string {
  const lab = name === 'default' ? '' : ` --name ${name}`;
  return `npx zufs-lab${lab} ${mounted ? 'exec -- findmnt -t zpmfs' : 'ssh'}`;
}
