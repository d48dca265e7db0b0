// SPDX-License-Identifier: BSD-3-Clause

/**
 * Runs the handlers on memory that nobody else sees, until the optimizing compiler has had its go at them: the first
 * operations of a mount then cost what all others cost, and none of them waits for a compiler.
 */

import type { FileSystem } from '../fs/filesystem.ts';
import type { Addon } from '../native/addon.ts';
import type { FakeMount } from './fake-mount.ts';
import { PlayedKernel } from './played-kernel.ts';

const SCRATCH_BYTES = 8 << 20;
const ROUNDS = 400;
/**
 * For a file system, making it and mounting it included: a machine that is too slow to get anywhere in that time, an emulated one,
 * does better to serve.
 */
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
  const end = Date.now() + MILLISECONDS;
  const address = addon.mmapAnonymous(SCRATCH_BYTES);
  const memory = { address, length: SCRATCH_BYTES, nodes: [{ node: 0, offset: 0, length: SCRATCH_BYTES }] };
  let operations = 0;
  try {
    fileSystem.formatScratch?.(addon, memory);
    using kernel = new PlayedKernel({ addon, fileSystem, memory });
    kernel.onOperation = (when) => {
      if (when === 'after') operations++;
    };
    const fs = kernel.mount();
    const data = new Uint8Array(16384).fill(1);
    for (let round = 0; round < ROUNDS; round++) {
      for (const use of usesOf(fs, data, round)) {
        if (Date.now() > end) return operations;
        use();
      }
    }
    fs.unmount();
  } finally {
    addon.munmap(address, SCRATCH_BYTES);
  }
  return operations;
}

/** What applications do most. */
function usesOf(fs: FakeMount, data: Uint8Array, round: number): readonly (() => void)[] {
  const directory = `/d${round % 7}`;
  const path = `${directory}/file-${round}`;
  return [
    () => void (fs.exists(directory) || fs.mkdir(directory)),
    () => void fs.create(path),
    () => void fs.write(path, 0, data),
    () => void fs.write(path, 100, data.subarray(0, 300)),
    () => void fs.read(path, 0, data.length),
    () => void fs.read(path, 4096, 512),
    () => void fs.getBlocks(path, 0, 4096),
    () => fs.sync(path),
    () => fs.chmod(path, 0o600),
    () => fs.truncate(path, 5000),
    () => fs.rename(path, `${path}x`),
    () => void fs.readdir(directory),
    () => void fs.statfs(),
    () => fs.dropCaches(),
    () => void fs.exists(`${directory}/absent`),
    () => fs.unlink(`${path}x`),
  ];
}
