// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import { Cli, type CliOptions } from './cli.ts';

/** The command line with caches and state of its own, and none of the machine's settings. */
export interface OwnCliOptions extends Pick<CliOptions, 'through'> {
  /** Caches and state lie below it; it is also where the command runs. */
  readonly directory: string;
  readonly env?: Readonly<Record<string, string>>;
}

export function startOwnCli(args: readonly string[], { directory, env, ...options }: OwnCliOptions): Cli {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('ZUFS_LAB_') && name !== 'DOCKER_HOST',
  );
  return new Cli(args, {
    ...options,
    cwd: directory,
    env: {
      ...Object.fromEntries(inherited),
      XDG_CACHE_HOME: join(directory, 'cache'),
      XDG_STATE_HOME: join(directory, 'state'),
      NO_COLOR: '1',
      ...env,
    },
  });
}

export async function runOwnCli(args: readonly string[], options: OwnCliOptions) {
  const { code, stdout, stderr } = await startOwnCli(args, options).end();
  return { code, stdout: stdout.toString(), stderr };
}
