// SPDX-License-Identifier: BSD-3-Clause

import { createHash } from 'node:crypto';
import { access, mkdir, rename, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Artefact, ArtefactCache } from './cache.ts';
import { asDiskFull } from './disk-space.ts';
import { hashFiles } from './hash-files.ts';
import { withLock } from './lock.ts';
import type { TaskContext } from './runtime/runtime.ts';
import { makeWorkDirectory } from './work-directory.ts';

/** The cache as directories: `<root>/<kind>/<key>/`. */
export class ArtefactDirectory implements ArtefactCache {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  async obtain(
    kind: string,
    inputs: readonly string[],
    context: TaskContext,
    build: (directory: string) => Promise<void>,
  ): Promise<Artefact> {
    const key = artefactKey(kind, inputs);
    const directory = join(this.root, kind, key);
    if (await this.#present(directory)) return { key, directory, hit: true };
    await mkdir(join(this.root, kind), { recursive: true });
    return await withLock(
      `${directory}.lock`,
      `another zufs-lab to finish this ${kind}`,
      context,
      async () => {
        // Whoever held the lock may have built it.
        if (await this.#present(directory)) return { key, directory, hit: true };
        await this.#build(directory, context, build);
        return { key, directory, hit: false };
      },
    );
  }

  hashFiles(paths: readonly string[]): Promise<string> {
    return hashFiles(paths);
  }

  /** With the lock held. */
  async #build(
    directory: string,
    context: TaskContext,
    build: (directory: string) => Promise<void>,
  ): Promise<void> {
    try {
      await using work = await makeWorkDirectory(
        this.root,
        `${basename(dirname(directory))}-${basename(directory)}`,
      );
      await build(work.path);
      context.signal.throwIfAborted();
      await rename(work.path, directory);
    } catch (error) {
      throw asDiskFull(error, this.root);
    }
  }

  async #present(directory: string): Promise<boolean> {
    try {
      await access(directory);
    } catch {
      return false;
    }
    // When it was last used, for whoever clears out the cache; a read-only cache works as well.
    const now = new Date();
    await utimes(directory, now, now).catch(() => undefined);
    return true;
  }
}

/** Each input is hashed with its length, so that no two lists run together to the same text. */
export function artefactKey(kind: string, inputs: readonly string[]): string {
  const hash = createHash('sha256');
  for (const input of [kind, ...inputs]) hash.update(`${Buffer.byteLength(input)}:${input}\n`);
  return hash.digest('hex').slice(0, 20);
}
