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
        return { key, directory, hit: !(await this.#build(directory, context, build)) };
      },
    );
  }

  hashFiles(paths: readonly string[]): Promise<string> {
    return hashFiles(paths);
  }

  /** With the lock held. False when another one's is there by the time that this one is built. */
  async #build(
    directory: string,
    context: TaskContext,
    build: (directory: string) => Promise<void>,
  ): Promise<boolean> {
    try {
      await using work = await makeWorkDirectory(
        this.root,
        `${basename(dirname(directory))}-${basename(directory)}`,
      );
      await build(work.path);
      context.signal.throwIfAborted();
      return await this.#moveTo(directory, work.path);
    } catch (error) {
      throw asDiskFull(error, this.root);
    }
  }

  /** A lock that was lost has let another one in. If that was first, what it made of the same inputs is as good. */
  async #moveTo(directory: string, built: string): Promise<boolean> {
    try {
      await rename(built, directory);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if ((code === 'ENOTEMPTY' || code === 'EEXIST') && (await this.#present(directory))) return false;
      throw error;
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
