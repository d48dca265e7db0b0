// SPDX-License-Identifier: BSD-3-Clause

import { execa } from 'execa';
import { CommandFailedError, InterruptedError, MissingPrerequisiteError } from '../errors.ts';
import type { TaskContext } from '../runtime/runtime.ts';

export interface GitOptions extends TaskContext {
  readonly cwd: string;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Run git on the host, as the user has it set up; resolves to its stdout, unchanged. */
export async function git(args: readonly string[], options: GitOptions): Promise<string> {
  const result = await execa('git', args, {
    cwd: options.cwd,
    env: { LC_ALL: 'C', GIT_TERMINAL_PROMPT: '0', ...options.env },
    cancelSignal: options.signal,
    reject: false,
    stripFinalNewline: false,
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
  });
  for (const line of result.stderr.split('\n')) if (line !== '') options.progress.output(line);
  if (result.isCanceled) throw new InterruptedError();
  if (result.code === 'ENOENT') {
    throw new MissingPrerequisiteError('git is not installed.', { hint: 'Run: sudo apt-get install git' });
  }
  if (result.exitCode !== 0) {
    throw new CommandFailedError(`git ${args[0]} failed.`, {
      command: ['git', ...args],
      exitCode: result.exitCode ?? null,
      outputTail: result.stderr.trimEnd(),
      cause: result.cause,
    });
  }
  return result.stdout;
}
