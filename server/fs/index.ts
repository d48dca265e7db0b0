// SPDX-License-Identifier: BSD-3-Clause

/** The file systems that come with the server, by the name of their type. */

import type { FileSystem } from './filesystem.ts';

const BLOCK_SIZE = 4096;

/** With what a ZT warms up on. */
async function loadZpmfs(): Promise<FileSystem> {
  const [{ zpmfs }, { makeFileSystem }] = await Promise.all([
    import('./zpmfs/zpmfs.ts'),
    import('./zpmfs/make.ts'),
  ]);
  return {
    ...zpmfs,
    formatScratch: (addon, { address, length }) => {
      const memory = new Uint8Array(addon.external(address, length));
      const devices = [{ blocks: length / BLOCK_SIZE, node: 0 }];
      makeFileSystem(devices, {}, (block, bytes) => memory.set(bytes, block * BLOCK_SIZE));
    },
  };
}

const loaders: Readonly<Record<string, () => Promise<FileSystem>>> = {
  zpmfs: loadZpmfs,
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
