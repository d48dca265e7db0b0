// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { Argument, type Command } from 'commander';
import type { LabContext } from '../../context.ts';
import { collectedServerLog, guestServerLog } from '../../deploy/server.ts';
import { ExitCode, LabError } from '../../errors.ts';
import { findLab } from '../../vm/running.ts';
import { vmPaths } from '../../vm/state.ts';
import type { Vm } from '../../vm/vm.ts';
import { runCommand } from '../run-command.ts';

type Source = 'zus' | 'kernel' | 'console' | 'qemu';

export function register(program: Command): void {
  program
    .command('logs')
    .description(
      'what zus, the kernel, the console or QEMU wrote; of a lab that ended, what is left on the host',
    )
    .addArgument(
      new Argument('[source]', 'whose log').choices(['zus', 'kernel', 'console', 'qemu']).default('zus'),
    )
    .option('-f, --follow', 'and what they write until Ctrl-C (zus, kernel)')
    .action((source: Source, options: { follow?: true }, command: Command) =>
      runCommand(command, (context) => showLog(context, source, options.follow === true)),
    );
}

async function showLog(context: LabContext, source: Source, follow: boolean): Promise<number> {
  const inGuest = {
    zus: follow ? ['tail', '-n', '+1', '-F', guestServerLog] : ['cat', guestServerLog],
    kernel: follow ? ['dmesg', '--follow'] : ['dmesg'],
  };
  const paths = vmPaths(context.stateDir);
  if (source === 'zus' || source === 'kernel') {
    const lab = await findLab(context);
    await using vm = lab?.vm;
    if (vm !== undefined && (await vm.health()).state === 'running') {
      if (source === 'zus') await requireServerLog(context, vm);
      const { stdout, stderr } = process;
      return await vm.stream(inGuest[source], { signal: context.signal, stdout, stderr });
    }
  }
  const onHost = {
    zus: collectedServerLog(context.stateDir),
    // The kernel's messages go to the console, and that is all that is left of them.
    kernel: paths.consoleLog,
    console: paths.consoleLog,
    qemu: paths.qemuLog,
  };
  const text = await readFile(onHost[source], 'utf8').catch((error: unknown) => {
    throw new LabError(`The lab '${context.name}' has left no log of ${source}.`, {
      hint: 'zufs-lab down takes the logs with it, unless it is called with --keep-logs.',
      cause: error,
    });
  });
  process.stdout.write(text);
  return ExitCode.ok;
}

async function requireServerLog({ name, signal }: LabContext, vm: Vm): Promise<void> {
  if ((await vm.exec(['test', '-e', guestServerLog], { signal })).exitCode === 0) return;
  throw new LabError(`No server has been started in the lab '${name}', so it has no log.`, {
    hint: 'zufs-lab up starts it.',
  });
}
