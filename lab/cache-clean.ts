// SPDX-License-Identifier: BSD-3-Clause

import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { tryLock } from './lock.ts';

/** An artefact as it lies in the cache: `<root>/<kind>/<key>/`. */
export interface CacheEntry {
  readonly kind: string;
  readonly key: string;
  readonly path: string;
  /** Blocks on disk, in bytes: less than the files' lengths where they are sparse. */
  readonly bytes: number;
  readonly lastUsed: Date;
}

/** How `artefactKey` names things. Whatever else lies in the cache (a tree that the user put there, ccache) is not ours to clear. */
const keyPattern = /^[0-9a-f]{20}$/;

/** Every artefact of the cache, the one that was used longest ago first. */
export async function listCache(root: string): Promise<CacheEntry[]> {
  const entries: CacheEntry[] = [];
  for (const kind of await directoriesIn(root)) {
    for (const key of await directoriesIn(join(root, kind))) {
      if (!keyPattern.test(key)) continue;
      const path = join(root, kind, key);
      entries.push({ kind, key, path, bytes: await diskUsage(path), lastUsed: (await lstat(path)).mtime });
    }
  }
  return entries.sort((a, b) => a.lastUsed.getTime() - b.lastUsed.getTime());
}

/** Remove an artefact; false when another process is building it, or removing it too. */
export async function removeEntry(entry: CacheEntry): Promise<boolean> {
  // The lock that a build of it takes. One that is lost lets in a build, which makes it anew if it finds it gone.
  await using held = await tryLock(`${entry.path}.lock`, () => undefined);
  if (held === undefined) return false;
  await rm(entry.path, { recursive: true, force: true });
  return true;
}

async function directoriesIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

async function diskUsage(path: string): Promise<number> {
  const status = await lstat(path);
  let bytes = status.blocks * 512;
  if (status.isDirectory()) {
    for (const name of await readdir(path)) bytes += await diskUsage(join(path, name));
  }
  return bytes;
}
