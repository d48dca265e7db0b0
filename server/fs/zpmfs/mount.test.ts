// SPDX-License-Identifier: BSD-3-Clause

import { constants, type PerformanceNodeEntry, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { zus_inode } from '../../abi/layout.ts';
import type { FakeMount } from '../../zt/fake-kernel.ts';
import { checkFileSystem, memorySource } from './check.ts';
import * as f from './format.ts';
import { repairFileSystem } from './repair.ts';
import { putTransaction } from './test-damage.ts';
import { createVolume, type Volume } from './test-volume.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const PAGE = 4096;

function populated(): Volume {
  const volume = createVolume(16 << 20, 2);
  const fs = volume.kernel.mount();
  fs.mkdir('/d');
  for (let n = 0; n < 100; n++) fs.writeFile(`/d/file${n}`, `content ${n}`);
  fs.writeFile('/large', new Uint8Array(700 * PAGE).fill(1));
  fs.clone('/large', 0, fs.create('/clone'), 0, 100 * PAGE);
  fs.setxattr('/large', 'user.a', new Uint8Array(5000));
  fs.symlink('target/'.repeat(50), '/link');
  fs.unmount();
  return volume;
}

const words = (volume: Volume) =>
  new Uint32Array(volume.bytes.buffer, volume.bytes.byteOffset, volume.bytes.length / 4);
const superblock = (volume: Volume) => words(volume).subarray(f.BLOCK_WORDS, 2 * f.BLOCK_WORDS);

describe('a mount after a clean unmount', () => {
  it('does not have V8 collect garbage, however large the media', async () => {
    const volume = createVolume(1 << 30);
    const collections = new PerformanceObserver(() => undefined);
    collections.observe({ entryTypes: ['gc'] });
    for (let n = 0; n < 5; n++) volume.kernel.mount().unmount();
    await setImmediate();
    const full = collections
      .takeRecords()
      .filter((entry) => (entry as PerformanceNodeEntry).detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR);
    collections.disconnect();
    // Of 25 buffers over all of it there was one each.
    expect(full.length).toBeLessThan(2);
  });

  it('counts for files what mkfs did not lay out', () => {
    const volume = createVolume(16 << 20);
    const fs = volume.kernel.mount();
    const fixed = f.JOURNAL_FIRST_BLOCK + superblock(volume)[f.SB_JOURNAL_SLOTS] * f.JOURNAL_SLOT_BLOCKS;
    expect(fs.statfs().blocks).toBe((16 << 20) / PAGE - fixed);
    fs.unmount();
  });

  it('takes what was saved, and counts as a walk over all inodes does', () => {
    const volume = populated();
    expect(superblock(volume)[f.SB_SAVED_BLOCK]).not.toBe(0);
    let fs = volume.kernel.mount();
    const fast = fs.statfs();
    for (let n = 0; n < 100; n++) expect(fs.readText(`/d/file${n}`)).toBe(`content ${n}`);
    fs.unlink('/large');
    for (let n = 0; n < 50; n++) fs.unlink(`/d/file${n}`);
    fs.writeFile('/new', new Uint8Array(50 * PAGE).fill(2));
    expect(fs.readFile('/clone').every((byte) => byte === 1)).toBe(true);
    const changed = fs.statfs();
    fs.unmount();
    expect(checkFileSystem(memorySource(volume.bytes)).problems.map(String)).toEqual([]);
    superblock(volume)[f.SB_SAVED_BLOCK] = 0;
    fs = volume.kernel.mount();
    expect(fs.statfs()).toEqual(changed);
    expect(fast.bfree).not.toBe(changed.bfree);
    fs.unmount();
  });

  it('takes nothing that was saved by an earlier one, or is damaged', () => {
    const volume = populated();
    const saved = superblock(volume)[f.SB_SAVED_BLOCK];
    const chain = volume.bytes.slice(saved * PAGE, (saved + 1) * PAGE);
    let fs = volume.kernel.mount();
    fs.unlink('/large');
    const { bfree } = fs.statfs();
    fs.unmount();
    volume.bytes.set(chain, saved * PAGE);
    superblock(volume)[f.SB_SAVED_BLOCK] = saved;
    expect(checkFileSystem(memorySource(volume.bytes)).problems.map(String)).toEqual([
      'saved state: its check is wrong',
    ]);
    fs = volume.kernel.mount();
    expect(fs.statfs().bfree).toBe(bfree);
    expect(volume.log.join()).toContain('what the last unmount saved is not used: its check is wrong');
    fs.unmount();
    expect(repairFileSystem(memorySource(volume.bytes)).mended).toEqual([]);
  });

  it('leaves out what is free all over, and takes no chain that was cut', () => {
    // 4,000 blocks are a part of what is saved; files lie at the start of each CPU's share.
    const volume = createVolume(512 << 20, 2);
    let fs = volume.kernel.mount();
    fs.writeFile('/first', new Uint8Array(50 * PAGE).fill(1));
    volume.kernel.cpu = 1;
    fs.writeFile('/second', new Uint8Array(50 * PAGE).fill(2));
    const { bfree } = fs.statfs();
    fs.unmount();
    const chain: number[] = [];
    for (let block = superblock(volume)[f.SB_SAVED_BLOCK]; block !== 0; ) {
      chain.push(block);
      block = words(volume)[block * f.BLOCK_WORDS + f.SAVED_NEXT];
    }
    expect(chain.length).toBeGreaterThan(2);
    expect(chain.length).toBeLessThan(8);
    expect(checkFileSystem(memorySource(volume.bytes)).problems.map(String)).toEqual([]);
    words(volume)[chain[0] * f.BLOCK_WORDS + f.SAVED_NEXT] = chain[2];
    const problems = checkFileSystem(memorySource(volume.bytes)).problems.map(String);
    expect(problems).toEqual(['saved state: its check is wrong']);
    fs = volume.kernel.mount();
    expect(volume.log.join()).toContain('what the last unmount saved is not used: its check is wrong');
    expect(fs.statfs().bfree).toBe(bfree);
    fs.unmount();
    fs = volume.kernel.mount();
    expect(volume.log.slice(-2).join()).not.toContain('is not used');
    expect(fs.statfs().bfree).toBe(bfree);
    expect(fs.readFile('/second').every((byte) => byte === 2)).toBe(true);
    fs.unmount();
  });

  it('walks all inodes when the server died', () => {
    const volume = populated();
    const fs = volume.kernel.mount();
    fs.unlink('/clone');
    const { bfree } = fs.statfs();
    const again = volume.reopen();
    expect(again.kernel.mount().statfs().bfree).toBe(bfree);
    expect(again.log.join()).toContain('after a crash');
  });

  it('finds a damaged inode when it is first used, and names it in the log', () => {
    const volume = populated();
    const { kernel } = volume;
    let fs = kernel.mount();
    const { dpp } = fs.inode('/large');
    fs.unmount();
    const at = dpp / 4;
    words(volume)[at + f.X_MAP_ROOT] = words(volume)[fsRootWord(volume) + f.I_DIR_ROOT];
    fs = kernel.mount();
    expect(() => fs.readFile('/large')).toThrow('EUCLEAN');
    expect(volume.log.filter((line) => line.startsWith('error:')).join()).toMatch(
      /inode \d+ is damaged: map node \d+/,
    );
    expect(fs.readText('/d/file7')).toBe('content 7');
    fs.unmount();
    // And the next mount looks at all of them again.
    expect(superblock(volume)[f.SB_SAVED_BLOCK]).toBe(0);
  });
});

describe('a directory that says it has no link', () => {
  it.each([
    ['the root', (_fs: FakeMount, volume: Volume) => fsRootWord(volume)],
    ['one with names in it', (fs: FakeMount) => fs.inode('/d').dpp / 4],
  ])('is damage, not a file that was open: %s', (what, find) => {
    const volume = populated();
    const fs = volume.kernel.mount();
    const at = find(fs, volume);
    fs.unmount();
    words(volume)[at + f.I_NLINK] = 0;
    superblock(volume)[f.SB_SAVED_BLOCK] = 0;
    const before = volume.bytes.slice();
    if (what === 'the root') {
      expect(() => volume.kernel.mount()).toThrow('EUCLEAN');
      expect(Buffer.compare(volume.bytes, before)).toBe(0);
    } else {
      const damaged = volume.kernel.mount();
      expect(() => damaged.list('/d')).toThrow('EUCLEAN');
      damaged.unmount();
    }
    const { result, mended } = repairFileSystem(memorySource(volume.bytes));
    expect(result.problems.map(String)).toEqual([]);
    expect(mended.map(String).join()).toMatch(/inode \d+: has 0 links, should have [23]/);
    const again = volume.kernel.mount();
    expect(again.readText('/d/file7')).toBe('content 7');
    again.unmount();
  });
});

/** The word where the inode of the root starts: the first block of inodes lies behind the journal and the map. */
function fsRootWord(volume: Volume): number {
  const slots = superblock(volume)[f.SB_JOURNAL_SLOTS];
  const block = f.JOURNAL_FIRST_BLOCK + slots * f.JOURNAL_SLOT_BLOCKS + 1;
  return block * f.BLOCK_WORDS + f.ROOT_INODE * f.INODE_WORDS;
}

describe('a read-only mount', () => {
  it('writes nothing, orphans or not, and removes them once it may', () => {
    const volume = populated();
    const first = volume.kernel.mount();
    const open = first.open('/large');
    first.unlink('/large');
    expect(open.nlink).toBe(0);
    const dead = volume.reopen();
    const before = volume.bytes.slice();
    const fs = dead.kernel.mount({ readOnly: true });
    expect(fs.readText('/d/file7')).toBe('content 7');
    expect(fs.exists('/large')).toBe(false);
    fs.sync('/d/file7');
    const { bfree } = fs.statfs();
    expect(Buffer.compare(volume.bytes, before)).toBe(0);
    fs.remount({ readOnly: false });
    expect(fs.statfs().bfree).toBeGreaterThan(bfree + 500);
    fs.writeFile('/new', 'new');
    fs.remount({ readOnly: true });
    const after = volume.bytes.slice();
    fs.unmount();
    expect(Buffer.compare(volume.bytes, after)).toBe(0);
    expect(checkFileSystem(memorySource(volume.bytes)).problems.map(String)).toEqual([]);
  });

  it('is refused when the journal has to be replayed first', () => {
    const volume = populated();
    const inode = fsRootWord(volume);
    const block = Math.floor(inode / f.BLOCK_WORDS);
    superblock(volume)[f.SB_STATE] = f.STATE_IN_USE;
    const word = (inode % f.BLOCK_WORDS) + f.I_UID;
    putTransaction(volume.bytes, 2, [{ block, word, values: [77] }]);
    const before = volume.bytes.slice();
    expect(() => volume.kernel.mount({ readOnly: true })).toThrow('EROFS');
    expect(volume.log.join()).toContain('the journal has to be replayed first');
    expect(Buffer.compare(volume.bytes, before)).toBe(0);
    const fs = volume.kernel.mount();
    expect(fs.root.raw.getUint32(zus_inode.i_uid, true)).toBe(77);
    fs.unmount();
  });
});

describe('handles', () => {
  it('are answered from the media, and only for inodes that are there', () => {
    const volume = populated();
    const fs = volume.kernel.mount();
    const slot = fs.superBlock - 1;
    const { cookie, dpp } = fs.inode('/d/file3');
    fs.dropCaches();
    const found = fs.lookupHandle(slot * 2 ** 40 + (cookie % 2 ** 40));
    expect(found.dpp).toBe(dpp);
    expect(fs.readText(found)).toBe('content 3');
    for (const ino of [0, 5000, 2 ** 31, 2 ** 32 - 1]) {
      expect(() => fs.lookupHandle(slot * 2 ** 40 + ino), String(ino)).toThrow('ESTALE');
    }
    expect(() => fs.lookupHandle((slot + 1) * 2 ** 40 + 1)).toThrow();
    const old = cookie;
    fs.unlink('/d/file3');
    expect(() => fs.lookupHandle(old)).toThrow('ESTALE');
    fs.unmount();
  });
});
