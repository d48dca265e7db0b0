// SPDX-License-Identifier: BSD-3-Clause

/** For tests: a formatted file system in memory, and a fake kernel to mount it. */

import type { Addon } from '../../native/addon.ts';
import { buildAddon } from '../../native/build.ts';
import { loadAddon } from '../../native/load.ts';
import { FakeKernel } from '../../zt/fake-kernel.ts';
import type { FileSystem, MountResult } from '../filesystem.ts';
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

/** A mount that one thread made and others take part in. */
export interface JoinedMount {
  readonly zt: number;
  readonly address: number;
  readonly length: number;
  readonly mounted: MountResult;
}

/** A ZT in an isolate of its own: its mount is that of the thread that made it. */
export function joinMount({ zt, address, length, mounted }: JoinedMount): FakeKernel {
  const joined: FileSystem = {
    ...zpmfs,
    mount: () => mounted,
    unmount: () => {},
    attach: (request) => zpmfs.attach({ ...request, zt, cpu: zt }),
  };
  return new FakeKernel({ fileSystem: joined, memory: { address, length }, addon });
}

/** A volume whose mounts can be joined; `mounts` has what they answered, the newest one first. */
export function createJoinable(length: number): { readonly volume: Volume; readonly mounts: MountResult[] } {
  const mounts: MountResult[] = [];
  const volume = new Volume(addon.mmapAnonymous(length), length, 1, {
    ...zpmfs,
    mount: (request) => {
      const mounted = zpmfs.mount(request);
      mounts.unshift(mounted);
      return mounted;
    },
  });
  formatVolume(volume);
  return { volume, mounts };
}
