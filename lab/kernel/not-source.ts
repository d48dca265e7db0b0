// SPDX-License-Identifier: BSD-3-Clause

import { createHash } from 'node:crypto';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * What a kernel directory may hold besides its source, as rsync's patterns: history, and what building in the tree leaves.
 * The first lines are what makes kbuild refuse to build elsewhere.
 */
export const notSource: readonly string[] = [
  '/.config*',
  '/include/config',
  '/include/generated',
  '/arch/*/include/generated',
  '/.git',
  '/vmlinux*',
  '/System.map',
  '/Module.symvers',
  '/modules.*',
  '.tmp_*',
  '.*.cmd',
  '.*.d',
  '*.o',
  '*.a',
  '*.ko',
  '*.mod',
  '*.mod.c',
];

const expressions = notSource.map((pattern) => {
  const anchored = pattern.startsWith('/');
  const body = pattern
    .slice(anchored ? 1 : 0)
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '[^/]*');
  return new RegExp(anchored ? `^${body}$` : `(^|/)${body}$`);
});

/** True for a path, relative to the kernel directory, that is left out (a directory with all that is below). */
export function isNotSource(path: string): boolean {
  return expressions.some((expression) => expression.test(path));
}

/**
 * What a kernel directory is like now: a hash of its source files' names, sizes and times of change. make goes by the times
 * as well, and reading a gigabyte for every start would take longer than it is worth.
 */
export async function directoryState(directory: string): Promise<string> {
  const hash = createHash('sha256');
  const visit = async (below: string): Promise<void> => {
    const entries = await readdir(join(directory, below), { withFileTypes: true });
    entries.sort((left, right) => (left.name < right.name ? -1 : 1));
    for (const entry of entries) {
      const path = join(below, entry.name);
      if (isNotSource(path)) continue;
      if (entry.isDirectory()) {
        await visit(path);
        continue;
      }
      const { size, mtimeMs, mode } = await lstat(join(directory, path));
      hash.update(`${path}\0${size}\0${mtimeMs}\0${mode}\n`);
    }
  };
  await visit('');
  return hash.digest('hex');
}
