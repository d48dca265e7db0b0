// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import { ExitCode } from '../../errors.ts';
import { ensureVm, obtainArtefacts } from '../../lifecycle.ts';
import { runCommand } from '../run-command.ts';

export function register(program: Command): void {
  program
    .command('up')
    .description('from nothing, or what the caches have, to a VM with the file systems mounted')
    .option('--no-server', 'stop when the guest answers on SSH: no zus, no mounts')
    .action((options: { server: boolean }, command: Command) =>
      runCommand(command, async (context) => {
        const artefacts = await obtainArtefacts(context);
        const { vm, state } = await ensureVm(context, artefacts);
        await using _ = vm;
        context.print(state, `The lab '${context.name}' is up.`);
        return ExitCode.ok;
      }),
    );
}
