// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import { requireLab } from '../../vm/running.ts';
import { runCommand } from '../run-command.ts';

export function register(program: Command): void {
  program
    .command('exec')
    .description('run a program in the guest: zufs-lab exec -- findmnt -t zpmfs')
    .usage('[options] -- <program> [arguments…]')
    .argument('<program...>', 'program and arguments, after --')
    .option('-C, --directory <path>', 'working directory in the guest')
    .addHelpText(
      'after',
      "\nInput and output are connected byte for byte. The exit code is the program's own; 128 and the signal's number\nwhen a signal ended it; 2 when there is no lab or it broke, with a line on stderr.",
    )
    .action((words: string[], options: { directory?: string }, command: Command) =>
      runCommand(command, async (context) => {
        await using vm = (await requireLab(context)).vm;
        try {
          return await vm.stream(words, {
            signal: context.signal,
            stdin: process.stdin,
            stdout: process.stdout,
            stderr: process.stderr,
            ...(options.directory === undefined ? {} : { cwd: options.directory }),
          });
        } finally {
          // Nobody reads on; an open terminal or pipe must not keep this process.
          process.stdin.destroy();
        }
      }),
    );
}
