// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { FLAG } from '../../abi/layout.ts';
import type { FakeMount } from '../../zt/fake-kernel.ts';
import { checkFileSystem, memorySource } from './check.ts';
import * as f from './format.ts';
import { repairFileSystem } from './repair.ts';
import { createVolume, type Volume } from './test-volume.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const GET_LABEL = 0x81009431;
const SET_LABEL = 0x41009432;
const BYTES = 16 << 20;
const FILES = 120;

/** Directories of one leaf and of many, and files that say who they are. */
function populated(): Volume {
  const volume = createVolume(BYTES);
  const fs = volume.kernel.mount();
  for (const path of ['/a', '/a/b', '/a/b/c', '/many']) fs.mkdir(path);
  fs.writeFile('/a/file', 'in a');
  fs.writeFile('/a/b/file', 'in b');
  for (let n = 0; n < FILES; n++) fs.writeFile(`/many/${'long-name-'.repeat(15)}${n}`, `number ${n}`);
  fs.unmount();
  return volume;
}

const words = (volume: Volume) => new Uint32Array(volume.bytes.buffer, volume.bytes.byteOffset, BYTES / 4);

/** Damage a volume: `damage` gets the words, and where the inodes of paths start. */
function damaged(damage: (media: Uint32Array, inode: (path: string) => number) => void): Volume {
  const volume = populated();
  const fs = volume.kernel.mount();
  const places = new Map(
    ['/', '/a', '/a/b', '/a/b/c', '/a/b/file', '/many'].map((path) => [path, fs.inode(path).dpp / 4]),
  );
  fs.unmount();
  damage(words(volume), (path) => places.get(path) ?? 0);
  return volume;
}

/** What fsck -y says it has mended; nothing may be left, and what it leaves is clean and can be mounted. */
function repaired(volume: Volume): { fs: FakeMount; mended: string } {
  const { result, mended } = repairFileSystem(memorySource(volume.bytes));
  expect(result.problems.map(String)).toEqual([]);
  expect(checkFileSystem(memorySource(volume.bytes)).problems.map(String)).toEqual([]);
  return { fs: volume.reopen().kernel.mount(), mended: mended.map(String).join('\n') };
}

/** First block that a directory's root leads to. */
const rootOf = (media: Uint32Array, inode: number) => media[inode + f.I_DIR_ROOT] * f.BLOCK_WORDS;

describe('repair', () => {
  it('gives what has lost its name one in lost+found', () => {
    const volume = damaged((media, inode) => {
      // The leaf of /a, with the names of /a/b and /a/file.
      media.fill(0, rootOf(media, inode('/a')), rootOf(media, inode('/a')) + f.BLOCK_WORDS);
    });
    const { fs, mended } = repaired(volume);
    expect(mended).toContain('a directory without a name');
    expect(fs.list('/')).toEqual(['a', 'lost+found', 'many']);
    expect(fs.list('/a')).toEqual([]);
    const lost = fs.list('/lost+found');
    expect(lost).toHaveLength(2);
    const texts = lost.map((name) => {
      const path = `/lost+found/${name}`;
      return fs.inode(path).isDirectory ? fs.readText(`${path}/file`) : fs.readText(path);
    });
    expect(texts.sort()).toEqual(['in a', 'in b']);
    expect(fs.stat('/lost+found').nlink).toBe(3);
    fs.unmount();
  });

  it('puts more into the lost+found that is there', () => {
    const volume = populated();
    const fs = volume.kernel.mount();
    fs.mkdir('/lost+found');
    fs.writeFile('/lost+found/mine', 'kept');
    const at = rootOf(words(volume), fs.inode('/a/b').dpp / 4);
    fs.unmount();
    words(volume).fill(0, at, at + f.BLOCK_WORDS);
    const again = repaired(volume).fs;
    expect(again.list('/lost+found')).toHaveLength(3);
    expect(again.readText('/lost+found/mine')).toBe('kept');
    again.unmount();
  });

  it('makes the tree of a directory anew from the leaves that can be read', () => {
    const volume = damaged((media, inode) => {
      const node = rootOf(media, inode('/many'));
      // Entries of the node that contradict each other, and one that leads nowhere.
      media[node + 1] = f.DIR_LEAF + 9;
      media[node + 600] = 0x7fffffff;
    });
    const { fs, mended } = repaired(volume);
    expect(mended).toMatch(/directory \d+: node \d+ has/);
    const names = fs.list('/many');
    const lost = fs.exists('/lost+found') ? fs.list('/lost+found').length : 0;
    expect(names.length + lost).toBe(FILES);
    expect(names.length).toBeGreaterThan(FILES / 2);
    for (const name of names) expect(fs.readText(`/many/${name}`)).toBe(`number ${name.replace(/.*-/, '')}`);
    // It can be used as any other.
    for (let n = 0; n < 50; n++) fs.create(`/many/${'new-'.repeat(50)}${n}`);
    fs.unmount();
  });

  it('takes a directory out of itself', () => {
    const volume = damaged((media, inode) => {
      // /a/b/c has /a/b in it, and /a has it no more.
      const b = media[inode('/a/b') + f.I_INO];
      const leaf = rootOf(media, inode('/a'));
      const record = findRecord(media, leaf, b);
      const moved = media.slice(record, record + 64);
      media[record + f.DR_INO] = 0;
      const c = inode('/a/b/c');
      const block = BYTES / f.BLOCK_SIZE - 1;
      media[c + f.I_DIR_ROOT] = block;
      media[c + f.I_DIR_ROOT + 1] = f.DIR_LEAF;
      media[c + f.X_ENTRIES] = 1;
      media[block * f.BLOCK_WORDS] = f.DIR_LEAF_MAGIC;
      media[block * f.BLOCK_WORDS + f.DL_OWNER] = media[c + f.I_INO];
      const length = moved[f.DR_SHAPE] & 0xffff;
      const at = block * f.BLOCK_WORDS + f.DL_RECORDS;
      media.set(moved.subarray(0, length), at);
      media[at + length + f.DR_SHAPE] = f.BLOCK_WORDS - f.DL_RECORDS - length;
      media[inode('/a/b') + f.I_PARENT] = media[c + f.I_INO];
    });
    const { fs, mended } = repaired(volume);
    expect(mended).toContain('a directory inside itself');
    const texts: string[] = [];
    const visit = (path: string): void => {
      for (const name of fs.list(path)) {
        const child = `${path}/${name}`;
        if (fs.inode(child).isDirectory) visit(child);
        else if (name === 'file') texts.push(fs.readText(child));
      }
    };
    visit('/');
    expect(texts.sort()).toEqual(['in a', 'in b']);
    fs.unmount();
  });

  it('finds the blocks of the inode table again when its map is gone', () => {
    const volume = damaged((media) => {
      const map = media[f.SUPER_BLOCK * f.BLOCK_WORDS + f.SB_INODE_TABLE + f.X_MAP_ROOT];
      media.fill(0xffffffff, map * f.BLOCK_WORDS, (map + 1) * f.BLOCK_WORDS);
    });
    const { fs, mended } = repaired(volume);
    expect(mended).toContain('inode table');
    expect(fs.list('/many')).toHaveLength(FILES);
    expect(fs.readText('/a/b/file')).toBe('in b');
    expect(fs.exists('/lost+found')).toBe(false);
    fs.unmount();
  });

  it('takes the record of the inode table from the copy of the superblock', () => {
    const volume = damaged((media) => {
      media[f.BLOCK_WORDS + f.SB_INODE_TABLE + f.X_MAP_HEIGHT] = 77;
    });
    const { fs } = repaired(volume);
    expect(fs.list('/many')).toHaveLength(FILES);
    fs.unmount();
  });

  it('takes a superblock that is gone, and its label, from the copy, and the copy from it', () => {
    const volume = populated();
    const label = (mount: FakeMount) => Buffer.from(mount.ioctl('/', GET_LABEL, new Uint8Array(256)));
    const named = volume.kernel.mount();
    const wanted = Buffer.alloc(256);
    wanted.write('set while mounted');
    named.ioctl('/', SET_LABEL, wanted, FLAG.ZUFS_IOC_CAP_ADMIN);
    named.unmount();
    const media = words(volume);
    media.fill(0, f.SUPER_BLOCK * f.BLOCK_WORDS, (f.SUPER_BLOCK + 1) * f.BLOCK_WORDS);
    const first = repaired(volume);
    expect(first.mended).toContain('superblock has no magic');
    expect(label(first.fs)).toEqual(wanted);
    expect(first.fs.list('/many')).toHaveLength(FILES);
    first.fs.unmount();
    media[f.SUPER_BACKUP_BLOCK * f.BLOCK_WORDS + f.SB_LABEL] ^= 1;
    const second = repaired(volume);
    expect(second.mended).toBe('the copy of the superblock differs from it');
    expect(label(second.fs)).toEqual(wanted);
    second.fs.unmount();
  });

  it('makes the device table and an empty root anew', () => {
    const volume = damaged((media, inode) => {
      media.fill(0, 0, f.BLOCK_WORDS);
      media[inode('/') + f.I_FLAGS_MODE] = 0;
    });
    const { fs, mended } = repaired(volume);
    expect(mended).toContain('there is no root directory');
    expect(fs.list('/')).toEqual(['lost+found']);
    expect(fs.list('/lost+found')).toHaveLength(2);
    fs.unmount();
  });
});

function findRecord(media: Uint32Array, leaf: number, ino: number): number {
  for (let at = f.DL_RECORDS; at < f.BLOCK_WORDS; at += media[leaf + at + f.DR_SHAPE] & 0xffff) {
    if (media[leaf + at + f.DR_INO] === ino) return leaf + at;
  }
  throw new Error(`no record of inode ${ino}`);
}
