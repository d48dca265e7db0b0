// SPDX-License-Identifier: BSD-3-Clause

import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** A program that writes for longer than this without a pause is none of a kernel build's. */
const marginMs = 60_000;

/**
 * Remove what a build that was killed wrote last. A program that is killed may leave half a file, newer than its source, which
 * make would take for whole; it was being written when the build ended, so it is among the newest.
 */
export async function discardLast(objects: string): Promise<void> {
  const files = await filesWithTimes(objects);
  const newest = files.reduce((latest, { mtimeMs }) => Math.max(latest, mtimeMs), 0);
  for (const { path, mtimeMs } of files) if (mtimeMs >= newest - marginMs) await rm(path, { force: true });
}

/** Not with `recursive` of readdir: Node follows links, and make's objects have one, `source`, to the tree they are made of. */
async function filesWithTimes(
  directory: string,
): Promise<{ readonly path: string; readonly mtimeMs: number }[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const files = entries.map(async (entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return await filesWithTimes(path);
    return entry.isFile() ? [{ path, mtimeMs: (await lstat(path)).mtimeMs }] : [];
  });
  return (await Promise.all(files)).flat();
}
