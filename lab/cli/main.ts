// SPDX-License-Identifier: BSD-3-Clause

import { Command, CommanderError } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import { ExitCode } from '../errors.ts';
import { commands } from './commands/index.ts';
import { addGlobalOptions } from './options.ts';

/** The program with every command; parsing it runs one. */
export function buildProgram(): Command {
  const program = new Command('zufs-lab')
    .description('Build, boot, deploy, test and measure ZUFS: kernel, server and the VM they run in')
    .version(packageJson.version)
    .configureHelp({ showGlobalOptions: true })
    .showSuggestionAfterError(true)
    .exitOverride();
  addGlobalOptions(program);
  for (const command of commands) command.register(program);
  inheritSettings(program);
  return program;
}

/** commander copies these only to commands made after them through the parent; registering in files keeps no such order. */
function inheritSettings(command: Command): void {
  for (const child of command.commands) {
    child.copyInheritedSettings(command);
    inheritSettings(child);
  }
}

/** Parse `argv` (without node and script) and run the command. The exit code is left in `process.exitCode`. */
export async function main(argv: readonly string[]): Promise<void> {
  // A reader such as `head` that has seen enough is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? ExitCode.ok);
    throw error;
  });
  try {
    await buildProgram().parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // commander has printed what is wrong; it exits 1 for that, which here means that tests failed.
    process.exitCode = error.exitCode === 0 ? ExitCode.ok : ExitCode.labFailed;
  }
}
