// SPDX-License-Identifier: BSD-3-Clause

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';

/** A sudo before the real one on PATH, for the time of a test in which this process is no root's. */
export interface PlayedSudo {
  /** Its arguments, a line a call. */
  calls(): Promise<string[]>;
  /** From now on it wants a password, which somebody gives where it asks. */
  askForPassword(): Promise<void>;
}

/** As the real one it stays about until what it runs has ended. */
const script = (directory: string): string => `#!/bin/sh
echo "$*" >> ${directory}/calls
case "$1" in
  -n*) [ -e ${directory}/asks ] && exit 1; shift ;;
  -p) shift 2 ;;
  --) shift ;;
esac
trap : TERM
"$@"
`;

export async function playSudo(directory: string): Promise<PlayedSudo> {
  await writeFile(join(directory, 'sudo'), script(directory), { mode: 0o755 });
  vi.stubEnv('PATH', `${directory}:${process.env.PATH}`);
  const getuid = vi.spyOn(process, 'getuid').mockReturnValue(1000);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    getuid.mockRestore();
  });
  return {
    calls: async () => (await readFile(join(directory, 'calls'), 'utf8')).trimEnd().split('\n'),
    askForPassword: () => writeFile(join(directory, 'asks'), ''),
  };
}
