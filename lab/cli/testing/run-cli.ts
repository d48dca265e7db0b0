// SPDX-License-Identifier: BSD-3-Clause

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { packageRoot } from '../../paths.ts';

/** The command line as a user's shell starts it, with caches and state of its own. */
export interface CliOptions {
  /** Caches and state lie below it. */
  readonly directory: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command line that runs. */
export interface RunningCli {
  readonly process: ChildProcess;
  /** Resolves once stderr has `text`. */
  says(text: string): Promise<void>;
  ended(): Promise<CliResult>;
}

export function startCli(args: readonly string[], options: CliOptions): RunningCli {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('ZUFS_LAB_') && name !== 'DOCKER_HOST',
  );
  const child = spawn(process.execPath, [join(packageRoot, 'lab/bin/zufs-lab.js'), ...args], {
    cwd: options.cwd ?? options.directory,
    env: {
      ...Object.fromEntries(inherited),
      XDG_CACHE_HOME: join(options.directory, 'cache'),
      XDG_STATE_HOME: join(options.directory, 'state'),
      NO_COLOR: '1',
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr }));
  return {
    process: child,
    says: async (text) => {
      while (!stderr.includes(text)) {
        const more = once(child.stderr, 'data').then(() => true);
        if (!(await Promise.race([more, ended.then(() => stderr.includes(text))]))) {
          throw new Error(`zufs-lab ended without saying "${text}":\n${stderr}`);
        }
      }
    },
    ended: () => ended,
  };
}

export async function runCli(args: readonly string[], options: CliOptions): Promise<CliResult> {
  return await startCli(args, options).ended();
}
