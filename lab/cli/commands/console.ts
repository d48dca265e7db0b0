// SPDX-License-Identifier: BSD-3-Clause

import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { LabContext } from '../../context.ts';
import { ExitCode } from '../../errors.ts';
import { ConsoleLog } from '../../vm/console.ts';
import { connectUnix } from '../../vm/monitor.ts';
import { type RunningLab, requireLab } from '../../vm/running.ts';
import { vmPaths } from '../../vm/state.ts';
import { runCommand } from '../run-command.ts';

const pollMs = 200;
/** Ctrl-] */
const leaveKey = 0x1d;

export function register(program: Command): void {
  program
    .command('console')
    .description("the guest's serial console: what it said, and what it says until Ctrl-C or its end")
    .option('--no-follow', 'only what it said so far')
    .option('--attach', 'type there too; Enter gets a shell, Ctrl-] leaves')
    .action((options: { follow: boolean; attach?: true }, command: Command) =>
      runCommand(command, async (context) => {
        const lab = await requireLab(context);
        const log = new ConsoleLog(vmPaths(context.stateDir).consoleLog);
        process.stdout.write(await log.read());
        if (options.attach) await attach(context);
        else if (options.follow) await follow(context, lab, log);
        return ExitCode.ok;
      }),
    );
}

async function follow(context: LabContext, lab: RunningLab, log: ConsoleLog): Promise<void> {
  for (;;) {
    const running = await lab.background.running();
    process.stdout.write(await log.read());
    if (!running) return;
    await sleep(pollMs, undefined, { signal: context.signal });
  }
}

async function attach(context: LabContext): Promise<void> {
  const paths = vmPaths(context.stateDir);
  const socket = await connectUnix(join(paths.directory, paths.consoleSocket));
  const { stdin, stdout } = process;
  if (stdin.isTTY) stdin.setRawMode(true);
  try {
    socket.pipe(stdout, { end: false });
    await typedInto(socket, stdin, context.signal);
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.destroy();
    socket.destroy();
  }
}

/** Pass keys on until Ctrl-], the end of input, or the end of the VM. */
async function typedInto(socket: Socket, stdin: NodeJS.ReadStream, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    socket.once('close', () => resolve());
    socket.once('error', reject);
    stdin.once('end', () => resolve());
    stdin.on('data', (keys: Buffer) => {
      const at = keys.indexOf(leaveKey);
      socket.write(at < 0 ? keys : keys.subarray(0, at));
      if (at >= 0) resolve();
    });
  });
}
