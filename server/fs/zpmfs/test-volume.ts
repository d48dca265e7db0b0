// SPDX-License-Identifier: BSD-3-Clause

/** For tests: a formatted file system in memory, and a fake kernel to mount it. */

import type { Addon } from '../../native/addon.ts';
import { buildAddon } from '../../native/build.ts';
import { loadAddon } from '../../native/load.ts';
import { FakeKernel } from '../../zt/fake-kernel.ts';
import type { FileSystem } from '../filesystem.ts';
import { checkFileSystem, memorySource } from './check.ts';
import { BLOCK_SIZE } from './format.ts';
import { type MakeOptions, makeFileSystem } from './make.ts';
import { zpmfs } from './zpmfs.ts';

export const addon: Addon = loadAddon(buildAddon());

export class Volume {
  readonly kernel: FakeKernel;
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly log: string[];
  private readonly cpus: number;

  constructor(address: number, length: number, cpus: number, fileSystem: FileSystem = zpmfs) {
    this.address = address;
    this.cpus = cpus;
    this.bytes = new Uint8Array(addon.external(address, length));
    this.log = [];
    this.kernel = new FakeKernel({
      fileSystem,
      memory: { address, length },
      cpus,
      addon,
      log: (level, message) => void this.log.push(`${level}: ${message}`),
    });
  }

  /** The same memory in another server: what a mount after a crash finds. */
  reopen(): Volume {
    return new Volume(this.address, this.bytes.length, this.cpus);
  }
}

export function createVolume(length: number, cpus = 1, options: MakeOptions = { hashSeed: 1 }): Volume {
  const volume = new Volume(addon.mmapAnonymous(length), length, cpus);
  formatVolume(volume, options);
  return volume;
}

/** mkfs. */
export function formatVolume(volume: Volume, options: MakeOptions = { hashSeed: 1 }): void {
  makeFileSystem([{ blocks: volume.bytes.length / BLOCK_SIZE, node: 0 }], options, (block, bytes) => {
    volume.bytes.set(bytes, block * BLOCK_SIZE);
  });
}

/** What fsck finds. */
export function checkMemory(volume: Volume): string[] {
  return checkFileSystem(memorySource(volume.bytes)).problems.map(String);
}
