// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** A directory with these files, each holding its own name: an xfstests tree by its files (`SOURCE_FILES`, `BUILT_FILES`) alone. */
export async function makeFakeTree(directory: string, files: readonly string[]): Promise<string> {
  for (const file of files) {
    await mkdir(dirname(join(directory, file)), { recursive: true });
    await writeFile(join(directory, file), file);
  }
  return directory;
}
