// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it } from 'vitest';
import { type FakeMount, KernelError } from '../../zt/fake-kernel.ts';
import { FALLOC } from '../../zt/fake-mount.ts';
import { checkFileSystem, memorySource, repairFileSystem } from './check.ts';
import { BLOCK_SIZE, I_DIR_ROOT, I_SIZE, X_MAP_HEIGHT, X_MAP_ROOT, X_XATTR_BLOCK } from './format.ts';
import { Random } from './test-model.ts';
import { createVolume, type Volume } from './test-volume.ts';

/** ZPMFS_LONG=1 damages many more images. */
const long = process.env.ZPMFS_LONG !== undefined;
const rounds = long ? 10_000 : 40;
const BYTES = 4 << 20;

/** A file system with something of everything. */
function populate(volume: Volume): void {
  const fs = volume.kernel.mount();
  fs.mkdir('/d');
  fs.mkdir('/d/e');
  for (let n = 0; n < 40; n++) fs.create(`/d/${'name'.repeat(30)}${n}`);
  fs.writeFile('/d/f', new Uint8Array(50_000).fill(1));
  fs.create('/d/sparse');
  fs.write('/d/sparse', 5_000_000, 'far');
  fs.clone('/d/f', 0, fs.create('/d/clone'), 0, 50_000);
  fs.symlink('t'.repeat(500), '/d/long');
  fs.symlink('short', '/short');
  fs.setxattr('/d/f', 'user.big', new Uint8Array(6000));
  fs.setxattr('/d', 'user.small', 'value');
  fs.mknod('/device', 0o020600, 0x0103);
  fs.unmount();
}

/** Blocks that hold something other than data. */
function metadataBlocks(bytes: Uint8Array): number[] {
  const found: number[] = [];
  const words = new Uint32Array(bytes.buffer);
  for (let block = 0; block < BYTES / BLOCK_SIZE; block++) {
    const at = block * 1024;
    const isData = words[at] === 0x01010101;
    if (!isData && words.subarray(at, at + 1024).some((word) => word !== 0)) found.push(block);
  }
  return found;
}

function tolerate(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
  }
}

/** Touch everything; errors are fine, exceptions and endless loops are not. */
function exercise(fs: FakeMount): void {
  let visits = 0;
  const visit = (path: string, depth: number): void => {
    if (depth > 4 || visits++ > 100) return;
    tolerate(() => {
      const inode = fs.inode(path);
      fs.listxattr(inode).forEach((name) => void fs.getxattr(inode, name));
      if (inode.isDirectory) {
        let names: string[] = [];
        tolerate(() => {
          names = fs.list(inode);
        });
        for (const name of names.slice(0, 60)) visit(`${path === '/' ? '' : path}/${name}`, depth + 1);
      } else if ((inode.mode & 0o170000) === 0o120000) {
        tolerate(() => void fs.readlink(inode));
      } else if ((inode.mode & 0o170000) === 0o100000) {
        tolerate(() => void fs.read(inode, 0, 70_000));
        tolerate(() => void fs.seek(inode, 0, 'data'));
        tolerate(() => void fs.fiemap(inode));
        tolerate(() => void fs.write(inode, 3000, new Uint8Array(9000)));
        tolerate(() => fs.fallocate(inode, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 5000, 20_000));
        tolerate(() => fs.truncate(inode, 1234));
      }
    });
  };
  visit('/', 0);
  tolerate(() => fs.rename('/d/f', '/d/e/g'));
  for (const path of ['/d/clone', '/d/sparse', '/d/long', '/d/e/g', '/short'])
    tolerate(() => fs.unlink(path));
  for (let n = 0; n < 40; n++) tolerate(() => fs.unlink(`/d/${'name'.repeat(30)}${n}`));
  for (let n = 0; n < 20; n++) tolerate(() => void fs.writeFile(`/new${n}`, new Uint8Array(20_000)));
}

function attempt(volume: Volume, what: string): void {
  const { kernel } = volume;
  let found = 0;
  const damaged = volume.bytes.slice();
  try {
    found = checkFileSystem(memorySource(volume.bytes)).problems.length;
    let fs: FakeMount | null = null;
    tolerate(() => {
      fs = kernel.mount();
    });
    if (fs !== null) {
      const mounted: FakeMount = fs;
      exercise(mounted);
      tolerate(() => mounted.unmount());
    }
  } catch (error) {
    throw new Error(
      `${what} (fsck: ${found} problems): ${error instanceof Error ? error.stack : String(error)}`,
    );
  }
  expect(kernel.reports, what).toEqual([]);
  // Repair comes to an end, and leaves nothing that it could have mended.
  const { result } = repairFileSystem(memorySource(damaged));
  expect(
    result.problems.filter((problem) => problem.fixes.length > 0),
    what,
  ).toEqual([]);
}

describe('damaged media', () => {
  it('random words give errors, never more', { timeout: 3_600_000 }, () => {
    const source = createVolume(BYTES);
    populate(source);
    const blocks = metadataBlocks(source.bytes);
    let volume = createVolume(BYTES);
    const random = new Random(5);
    const words = new Uint32Array(volume.bytes.buffer);
    for (let round = 0; round < rounds; round++) {
      // A mount whose unmount failed stays in that kernel: take a new one now and then.
      if (round % 50 === 0) volume = volume.reopen();
      volume.bytes.set(source.bytes);
      const what: string[] = [];
      for (let count = 1 + random.next(4); count > 0; count--) {
        const at = random.pick(blocks) * 1024 + random.next(random.pick([8, 64, 1024]));
        const value = random.pick([
          0,
          1,
          0xffffffff,
          random.next(1024),
          words[at] ^ (1 << random.next(32)),
          words[at] + 1,
        ]);
        words[at] = value;
        what.push(`block ${Math.floor(at / 1024)} word ${at % 1024} = ${value >>> 0}`);
      }
      attempt(volume, `round ${round}: ${what.join(', ')}`);
    }
  });

  it('pointers to the wrong places are not followed', { timeout: 60_000 }, () => {
    const source = createVolume(BYTES);
    populate(source);
    const fs = source.kernel.mount();
    const inodes = ['/d', '/d/f', '/d/sparse', '/d/clone', '/d/long', '/'].map(
      (path) => fs.inode(path).dpp / 4,
    );
    fs.unmount();
    const volume = createVolume(BYTES);
    const words = new Uint32Array(volume.bytes.buffer);
    const targets = [0, 1, 3, 70, 1023, 1024, 0x7fffffff, 0xffffffff];
    for (const inode of inodes) {
      for (const field of [
        I_DIR_ROOT,
        I_DIR_ROOT + 1,
        I_SIZE,
        I_SIZE + 1,
        X_MAP_ROOT,
        X_MAP_HEIGHT,
        X_XATTR_BLOCK,
        X_XATTR_BLOCK + 1,
      ]) {
        for (const target of long ? targets : [targets[field % targets.length]]) {
          volume.bytes.set(source.bytes);
          words[inode + field] = target;
          attempt(volume, `inode at ${inode}, field ${field} = ${target}`);
        }
      }
    }
  });
});
