// SPDX-License-Identifier: BSD-3-Clause

/**
 * Runs the handlers on memory that nobody else sees, until the optimizing compiler has had its go at them: the first
 * operations of a mount then cost what all others cost, and none of them waits for a compiler.
 */

import type { FileSystem } from '../fs/filesystem.ts';
import type { Addon } from '../native/addon.ts';
import { FakeKernel } from './fake-kernel.ts';
import type { FakeMount } from './fake-mount.ts';

const SCRATCH_BYTES = 8 << 20;
/** Both limits a file system. */
const ROUNDS = 400;
const MILLISECONDS = 400;

export function warmUp(
  addon: Addon,
  fileSystems: readonly FileSystem[],
): { operations: number; milliseconds: number } {
  const started = Date.now();
  let operations = 0;
  for (const fileSystem of fileSystems) {
    if (fileSystem.formatScratch === undefined) continue;
    operations += warmUpOn(addon, fileSystem);
  }
  return { operations, milliseconds: Date.now() - started };
}

function warmUpOn(addon: Addon, fileSystem: FileSystem): number {
  const address = addon.mmapAnonymous(SCRATCH_BYTES);
  const memory = { address, length: SCRATCH_BYTES, nodes: [{ node: 0, offset: 0, length: SCRATCH_BYTES }] };
  let operations = 0;
  try {
    fileSystem.formatScratch?.(addon, memory);
    using kernel = new FakeKernel({ addon, fileSystem, memory });
    kernel.onOperation = (when) => {
      if (when === 'after') operations++;
    };
    const fs = kernel.mount();
    const data = new Uint8Array(16384).fill(1);
    const end = Date.now() + MILLISECONDS;
    for (let round = 0; round < ROUNDS && Date.now() < end; round++) useEverything(fs, data, round);
    fs.unmount();
  } finally {
    addon.munmap(address, SCRATCH_BYTES);
  }
  return operations;
}

/** What applications do most. */
function useEverything(fs: FakeMount, data: Uint8Array, round: number): void {
  const directory = `/d${round % 7}`;
  if (!fs.exists(directory)) fs.mkdir(directory);
  const path = `${directory}/file-${round}`;
  const file = fs.create(path);
  fs.write(file, 0, data);
  fs.write(file, 100, data.subarray(0, 300));
  fs.read(file, 0, data.length);
  fs.read(file, 4096, 512);
  fs.getBlocks(file, 0, 4096);
  fs.sync(file);
  fs.chmod(file, 0o600);
  fs.truncate(file, 5000);
  fs.rename(path, `${path}x`);
  fs.readdir(directory);
  fs.statfs();
  fs.dropCaches();
  fs.exists(`${directory}/absent`);
  fs.unlink(`${path}x`);
}
