// SPDX-License-Identifier: BSD-3-Clause

/** The file systems that come with the server, by the name of their type. */

import type { FileSystem } from './filesystem.ts';

const loaders: Readonly<Record<string, () => Promise<FileSystem>>> = {
  nullfs: async () => (await import('./nullfs/nullfs.ts')).nullfs,
  zstatfs: async () => (await import('./zstatfs/zstatfs.ts')).zstatfs,
};

export const fileSystemNames: readonly string[] = Object.keys(loaders);

/** In the order of `names`, all of which are of `fileSystemNames`. */
export async function loadFileSystems(names: readonly string[]): Promise<readonly FileSystem[]> {
  return Promise.all(
    names.map((name) => {
      const load = loaders[name];
      if (load === undefined) throw new RangeError(`no file system ${name}`);
      return load();
    }),
  );
}
