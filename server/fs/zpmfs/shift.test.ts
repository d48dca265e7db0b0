// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { FALLOC, type FakeMount } from '../../zt/fake-mount.ts';
import { MAX_FILE_BLOCKS } from './format.ts';
import { outcomeOf } from './test-quota.ts';
import { checkMemory, createVolume, type Volume } from './test-volume.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const PAGE = 4096;
const LEVEL_3 = 2 ** 18;
const LEVEL_4 = 2 ** 27;

const insert = (fs: FakeMount, block: number, blocks = 1) =>
  fs.fallocate('/f', FALLOC.INSERT_RANGE, block * PAGE, blocks * PAGE);
const collapse = (fs: FakeMount, block: number, blocks = 1) =>
  fs.fallocate('/f', FALLOC.COLLAPSE_RANGE, block * PAGE, blocks * PAGE);

/** Free blocks as the mount counts them; the next mount, which counts anew, must find as many. */
function freeAfter(volume: Volume, fs: FakeMount): number {
  const { bfree } = fs.statfs();
  fs.unmount();
  expect(checkMemory(volume)).toEqual([]);
  const next = volume.kernel.mount();
  expect(next.statfs().bfree).toBe(bfree);
  next.unmount();
  return bfree;
}

/** Leave so many blocks for who has no privilege. */
function fillUp(fs: FakeMount, leave: number): void {
  // Kept for what makes room.
  const RESERVE = 16;
  const room = () => fs.statfs().bfree - RESERVE - leave;
  // Inodes and room for names, so that a symbolic link takes its target and no more.
  const links = Array.from({ length: 40 }, (_, number) => `/link${number}`);
  for (const link of links) fs.symlink('short', link);
  for (const link of links) fs.unlink(link);
  fs.create('/full');
  for (let block = 0; room() > 30; block++) fs.write('/full', block * PAGE, 'x');
  for (const link of links.slice(0, room())) fs.symlink('long'.repeat(20), link);
  expect(room()).toBe(0);
}

describe('inserting and collapsing', () => {
  it('makes no free blocks out of nothing where every leaf of the map is split, below nodes of its own', () => {
    const volume = createVolume(16 << 20);
    const fs = volume.kernel.mount();
    fs.create('/f');
    for (let k = 1; k < 32; k++) {
      fs.write('/f', (k * LEVEL_4 - 512) * PAGE, 'x');
      fs.write('/f', (k * LEVEL_4 - 1) * PAGE, 'y');
    }
    const { bfree } = fs.statfs();
    for (let cycle = 0; cycle < 3; cycle++) {
      insert(fs, 0);
      // A leaf and a node above it more for each, and one of the third level.
      expect(fs.statfs().bfree).toBe(bfree - (2 * 31 + 1));
      collapse(fs, 0);
      expect(fs.statfs().bfree).toBe(bfree);
    }
    expect(new TextDecoder().decode(fs.read('/f', (5 * LEVEL_4 - 1) * PAGE, 1))).toBe('y');
    freeAfter(volume, fs);
    expect(volume.log.filter((line) => line.startsWith('error'))).toEqual([]);
  });

  it('needs as many blocks as the new tree has nodes, and not one more', () => {
    // Places in the file, what is done to it, and nodes of the tree then.
    const cases: [string, number[], (fs: FakeMount) => void, number][] = [
      ['a leaf stays one', [0, 5], (fs) => insert(fs, 1), 1],
      ['a leaf becomes two, below a new root', [0, 511], (fs) => insert(fs, 0), 3],
      ['what is inserted splits a leaf', [0, 5], (fs) => insert(fs, 1, 2048), 3],
      ['the tree grows by two levels', [0, 1, LEVEL_3 - 1], (fs) => insert(fs, 1), 5],
      ['the tree grows to the highest', [0, 511], (fs) => insert(fs, 1, LEVEL_4), 7],
      ['two leaves become one', [3, 512, 700], (fs) => collapse(fs, 4, 508), 1],
      ['the tree shrinks', [0, 2 * LEVEL_3], (fs) => collapse(fs, 1, 2 * LEVEL_3 - 1), 1],
      ['all that is behind moves across every boundary', [LEVEL_4 - 1, LEVEL_4], (fs) => insert(fs, 0), 4],
      ['nothing is left', [600], (fs) => collapse(fs, 512, 100), 0],
    ];
    for (const [what, places, change, nodes] of cases) {
      for (const missing of nodes > 0 ? [1, 0] : [0]) {
        const volume = createVolume(4 << 20);
        const fs = volume.kernel.mount();
        fs.create('/f');
        for (const block of places) fs.write('/f', block * PAGE, 'x');
        fs.truncate('/f', 2 ** 40);
        fillUp(fs, nodes - missing);
        const outcome = outcomeOf(() => change(fs));
        expect([what, outcome]).toEqual([what, missing > 0 ? 'ENOSPC' : 'OK']);
        freeAfter(volume, fs);
      }
    }
  });

  it('refuses to move any block out of what a file can have', () => {
    const volume = createVolume(16 << 20);
    const fs = volume.kernel.mount();
    fs.writeFile('/f', 'x');
    const far = MAX_FILE_BLOCKS - 4;
    fs.fallocate('/f', FALLOC.KEEP_SIZE, far * PAGE, 3 * PAGE);
    const { bfree } = fs.statfs();
    expect(outcomeOf(() => insert(fs, 0, 2))).toBe('EFBIG');
    expect(fs.statfs().bfree).toBe(bfree);
    insert(fs, 0);
    expect(outcomeOf(() => insert(fs, 0))).toBe('EFBIG');
    freeAfter(volume, fs);
  });
});
