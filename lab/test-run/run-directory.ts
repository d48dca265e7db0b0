// SPDX-License-Identifier: BSD-3-Clause

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

/** A new directory for a run below `root`, named by time and file system. */
export async function makeRunDirectory(
  root: string,
  fileSystem: string,
  now: Date,
): Promise<{ readonly run: string; readonly directory: string }> {
  await mkdir(root, { recursive: true });
  const base = `${now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15)}-${fileSystem}`;
  for (let count = 1; ; count += 1) {
    const run = count === 1 ? base : `${base}-${count}`;
    const directory = join(root, run);
    try {
      await mkdir(directory);
      return { run, directory };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}
