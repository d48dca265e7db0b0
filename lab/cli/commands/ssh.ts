// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import type { ClientChannel } from 'ssh2';
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
        const resized = new AbortController();
        const attach = (channel: ClientChannel): void => {
          const onResize = (): void => channel.setWindow(stdout.rows, stdout.columns, 0, 0);
          stdout.on('resize', onResize);
          resized.signal.addEventListener('abort', () => stdout.off('resize', onResize));
          stdin.pipe(channel);
          channel.pipe(stdout, { end: false });
        };
        const terminal = { columns: stdout.columns, rows: stdout.rows, term: process.env.TERM ?? 'xterm' };
        return await vm.withConnection(context.signal, async (connection) => {
          // Keys, Ctrl-C included, are the guest's.
          stdin.setRawMode(true);
          try {
            return await connection.shell(terminal, attach, context.signal);
          } finally {
            stdin.setRawMode(false);
            stdin.destroy();
            resized.abort();
          }
        });
      }),
    );
}
