// SPDX-License-Identifier: BSD-3-Clause

import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

/**
 * One hash over files and directory trees, each named by its path relative to the entry of `paths` it comes from, with its
 * executable bit and content. Where a tree lies does not matter.
 */
export async function hashFiles(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of paths) await add(hash, path, '');
  return hash.digest('hex');
}

async function add(hash: Hash, path: string, name: string): Promise<void> {
  const status = await lstat(path);
  if (status.isSymbolicLink()) {
    hash.update(`link ${name}\0${await readlink(path)}\0`);
  } else if (status.isDirectory()) {
    hash.update(`directory ${name}\0`);
    for (const entry of (await readdir(path)).sort()) await add(hash, join(path, entry), join(name, entry));
  } else if (status.isFile()) {
    hash.update(`file ${name}\0${status.mode & 0o111 ? 'x' : '-'}\0${status.size}\0`);
    await pipeline(createReadStream(path), async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) hash.update(chunk);
    });
  }
}
