// SPDX-License-Identifier: BSD-3-Clause

import { readdir, symlink } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { scratchDirectory } from './scratch.ts';

/** A PATH with every program that this one has but for those named. Goes away with the test. */
export async function pathWithout(...names: string[]): Promise<string> {
  const directory = await scratchDirectory();
  for (const source of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of await readdir(source).catch(() => [])) {
      // The first directory that has a name wins, as it does in a PATH.
      if (!names.includes(name))
        await symlink(join(source, name), join(directory, name)).catch(() => undefined);
    }
  }
  return directory;
}
