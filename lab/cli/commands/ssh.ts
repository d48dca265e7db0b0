// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import { LabError } from '../../errors.ts';
import { requireLab } from '../../vm/running.ts';
import { vmPaths } from '../../vm/state.ts';
import { runCommand } from '../run-command.ts';

export function register(program: Command): void {
  program
    .command('ssh')
    .description('a shell in the guest, as root')
    .addHelpText(
      'after',
      '\nFor ssh, scp and rsync by hand `zufs-lab status` names a file for their option -F; the host is `guest`.',
    )
    .action((_options: unknown, command: Command) =>
      runCommand(command, async (context) => {
        const { stdin, stdout } = process;
        if (!stdin.isTTY || !stdout.isTTY) {
          throw new LabError('zufs-lab ssh needs a terminal.', {
            hint: `Use zufs-lab exec -- PROGRAM, or ssh -F ${vmPaths(context.stateDir).sshConfig} guest.`,
          });
        }
        await using vm = (await requireLab(context)).vm;
        return await vm.withConnection(async (connection) => {
          const channel = await connection.shell({
            columns: stdout.columns,
            rows: stdout.rows,
            term: process.env.TERM ?? 'xterm',
          });
          const resized = (): void => channel.setWindow(stdout.rows, stdout.columns, 0, 0);
          stdout.on('resize', resized);
          // Keys, Ctrl-C included, are the guest's.
          stdin.setRawMode(true);
          try {
            stdin.pipe(channel);
            channel.pipe(stdout, { end: false });
            return await connection.finished(channel, context.signal);
          } finally {
            stdin.setRawMode(false);
            stdin.destroy();
            stdout.off('resize', resized);
          }
        });
      }),
    );
}
