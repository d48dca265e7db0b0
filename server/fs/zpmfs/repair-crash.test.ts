// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { checkFileSystem, memorySource, type WritableSource } from './check.ts';
import * as f from './format.ts';
import type { Recorder } from './pmem.ts';
import { repairFileSystem } from './repair.ts';
import { Random } from './test-model.ts';
import { readTree } from './test-tree.ts';
import { addon, createVolume, formatVolume, Volume } from './test-volume.ts';
import { Zpmfs, zpmfs } from './zpmfs.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 120_000 });

const BYTES = 4 << 20;
const FILES = 60;
/** Choices of what was written and not flushed that are tried each time, besides each block alone and all but each. */
const SAMPLES = 4;
const ALONE_MAX = 8;

/** A disk that loses its power: before a flush, any of the blocks written since the last one may be on it. */
class PoweredDisk implements WritableSource {
  readonly blocks = BYTES / f.BLOCK_SIZE;
  /** What it may hold at some time. */
  readonly images: Uint8Array[] = [];
  private readonly durable: Uint8Array;
  private readonly current: WritableSource;
  private readonly pending = new Map<number, Uint32Array>();
  private readonly random = new Random(1);

  constructor(image: Uint8Array) {
    this.durable = image.slice();
    this.current = memorySource(image.slice());
  }

  /** Nothing is lost when its power goes now. */
  get isDurable(): boolean {
    return this.pending.size === 0;
  }

  read(block: number): Uint32Array {
    return this.current.read(block);
  }

  write(block: number, words: Uint32Array): void {
    this.current.write(block, words);
    this.pending.set(block, words.slice());
  }

  flush(): void {
    this.notePending();
    this.keep(this.durable, () => true);
    this.pending.clear();
  }

  /** What it may hold by now. */
  private notePending(): void {
    for (const one of [...this.pending.keys()].slice(-ALONE_MAX)) {
      this.addImage((block) => block === one);
      this.addImage((block) => block !== one);
    }
    for (let sample = 0; sample < SAMPLES && this.pending.size > 1; sample++)
      this.addImage(() => this.random.next(2) === 1);
  }

  private addImage(isThere: (block: number) => boolean): void {
    const image = this.durable.slice();
    this.keep(image, isThere);
    this.images.push(image);
  }

  private keep(image: Uint8Array, isThere: (block: number) => boolean): void {
    const target = memorySource(image);
    for (const [block, words] of this.pending) if (isThere(block)) target.write(block, words);
  }
}

/** What a disk may hold whose power goes at any time while fsck -y mends it. */
function imagesOfRepair(image: Uint8Array): Uint8Array[] {
  const disk = new PoweredDisk(image);
  repairFileSystem(disk);
  expect(disk.isDurable).toBe(true);
  return disk.images;
}

/** All that is there. Of what has lost its name only the files: an unfinished lost+found may be among the rest. */
function contents(image: Uint8Array): string[] {
  const volume = new Volume(addon.mmapAnonymous(BYTES), BYTES, 1);
  volume.bytes.set(image);
  const fs = volume.kernel.mount();
  const lines = [...readTree(fs)].flatMap(([path, { data }]) => {
    const text = Buffer.from(data).toString('latin1');
    if (!path.startsWith('/lost+found')) return [`${path}: ${text}`];
    return text === '' ? [] : [`lost: ${text}`];
  });
  fs.unmount();
  expect(checkFileSystem(memorySource(volume.bytes)).problems.map(String)).toEqual([]);
  addon.munmap(volume.address, BYTES);
  return lines.sort();
}

/** What the media hold when a rename is committed and not yet applied. */
function committedRename(): Uint8Array {
  const images: Uint8Array[] = [];
  const nothing = () => {};
  const recorder: Recorder = {
    store: nothing,
    nonTemporal: nothing,
    writeBack: nothing,
    fence: () => void images.push(volume.bytes.slice()),
  };
  let thread: Zpmfs | undefined;
  const volume = new Volume(addon.mmapAnonymous(BYTES), BYTES, 1, {
    ...zpmfs,
    attach: (request) => {
      thread = new Zpmfs(request);
      return thread;
    },
  });
  formatVolume(volume);
  const fs = volume.kernel.mount();
  fs.mkdir('/from');
  fs.writeFile('/from/file', 'moved');
  // So that the directories and the file are not in one block of the inode table.
  for (let n = 0; n < 40; n++) fs.writeFile(`/file${n}`, `number ${n}`);
  fs.mkdir('/to');
  fs.writeFile('/to/other', 'stays');
  if (thread !== undefined) thread.core.pmem.recorder = recorder;
  fs.rename('/from/file', '/to/file');
  const notes = (image: Uint8Array) => checkFileSystem(memorySource(image)).notes.join();
  const committed = images.find((image) => notes(image).includes('1 transactions in the journal'));
  if (committed === undefined) throw new Error('the rename had no transaction');
  return committed;
}

/** A file system that was unmounted, and then damaged. */
function damaged(damage: (media: Uint32Array, inode: (path: string) => number) => void): Uint8Array {
  const volume = createVolume(BYTES);
  const fs = volume.kernel.mount();
  for (const path of ['/a', '/a/b', '/many']) fs.mkdir(path);
  fs.writeFile('/a/file', 'in a');
  fs.writeFile('/a/b/file', 'in b');
  for (let n = 0; n < FILES; n++) fs.writeFile(`/many/${'long-name-'.repeat(15)}${n}`, `number ${n}`);
  const places = new Map(['/a', '/a/file', '/many'].map((path) => [path, fs.inode(path).dpp / 4]));
  fs.unmount();
  const media = new Uint32Array(volume.bytes.buffer, volume.bytes.byteOffset, BYTES / 4);
  damage(media, (path) => places.get(path) ?? 0);
  return volume.bytes;
}

const treeOf = (media: Uint32Array, inode: number) => media[inode + f.I_DIR_ROOT] * f.BLOCK_WORDS;

describe('a power failure while fsck -y', () => {
  it('replays the journal leaves what was committed', () => {
    const images = imagesOfRepair(committedRename());
    expect(images.length).toBeGreaterThan(10);
    for (const image of images) {
      expect(checkFileSystem(memorySource(image)).problems.map(String)).toEqual([]);
      const lines = contents(image);
      expect(lines).toContain('/to/file: moved');
      expect(lines).not.toContain('/from/file: moved');
    }
  });

  it.each<[string, Parameters<typeof damaged>[0]]>([
    [
      'makes the tree of a directory anew',
      (media, inode) => {
        media[treeOf(media, inode('/many')) + 1] = f.DIR_LEAF + 9;
      },
    ],
    [
      'takes a block out of a file',
      (media, inode) => {
        media[media[inode('/a/file') + f.X_MAP_ROOT] * f.BLOCK_WORDS] = 0x7fffffff;
      },
    ],
    [
      'gives what has lost its name one',
      (media, inode) => {
        const leaf = treeOf(media, inode('/a'));
        media.fill(0, leaf, leaf + f.BLOCK_WORDS);
      },
    ],
    [
      'makes the map of the inode table anew',
      (media) => {
        const map = media[f.SUPER_BLOCK * f.BLOCK_WORDS + f.SB_INODE_TABLE + f.X_MAP_ROOT];
        media.fill(0xffffffff, map * f.BLOCK_WORDS, (map + 1) * f.BLOCK_WORDS);
      },
    ],
  ])(
    '%s costs nothing that it would have kept, and leaves no saved state of what is no more',
    (_, damage) => {
      const image = damaged(damage);
      const mended = image.slice();
      expect(repairFileSystem(memorySource(mended)).result.problems.map(String)).toEqual([]);
      const expected = contents(mended);
      const images = imagesOfRepair(image);
      expect(images.length).toBeGreaterThan(5);
      for (const crashed of images) {
        const found = checkFileSystem(memorySource(crashed)).problems.map(String);
        expect(found.filter((what) => what.startsWith('saved state'))).toEqual([]);
        expect(repairFileSystem(memorySource(crashed)).result.problems.map(String)).toEqual([]);
        expect(contents(crashed)).toEqual(expected);
      }
    },
  );
});
