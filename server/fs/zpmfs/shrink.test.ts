// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { FALLOC } from '../../zt/fake-mount.ts';
import { X_MAP_HEIGHT } from './format.ts';
import { checkMemory, createVolume } from './test-volume.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const PAGE = 4096;
const GIB = 2 ** 30;
const PUNCH = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;

describe('the tree of a file', () => {
  it('shrinks when the file is cut, to what the rest needs', () => {
    const volume = createVolume(16 << 20);
    const fs = volume.kernel.mount();
    const inode = fs.create('/f');
    const height = () =>
      new Uint32Array(volume.bytes.buffer, volume.bytes.byteOffset)[inode.dpp / 4 + X_MAP_HEIGHT];
    const free = fs.statfs().bfree;
    fs.write('/f', 0, 'start');
    const small = fs.statfs().bfree;
    fs.write('/f', 600 * GIB, 'far');
    expect(height()).toBe(4);
    expect(fs.statfs().bfree).toBeLessThan(small - 4);
    fs.truncate('/f', PAGE);
    expect(height()).toBe(1);
    expect(fs.statfs().bfree).toBe(small);
    expect(fs.readText('/f').slice(0, 5)).toBe('start');
    fs.truncate('/f', 0);
    expect(height()).toBe(0);
    expect(fs.statfs().bfree).toBe(free);
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });

  it('shrinks when holes are punched, block by block', () => {
    const volume = createVolume(16 << 20);
    const fs = volume.kernel.mount();
    const inode = fs.create('/f');
    const free = fs.statfs().bfree;
    const places = [0, 3, 511, 512, 5000, 300_000, 140_000_000];
    for (const block of places) fs.write('/f', block * PAGE, 'x');
    for (const block of places.slice(1)) fs.fallocate('/f', PUNCH, block * PAGE, PAGE);
    expect(fs.statfs().bfree).toBe(free - 2);
    fs.write('/f', 5000 * PAGE, 'again');
    expect(new TextDecoder().decode(fs.read('/f', 5000 * PAGE, 5))).toBe('again');
    fs.fallocate('/f', PUNCH, 0, 6000 * PAGE);
    expect(fs.statfs().bfree).toBe(free);
    expect(inode.stat().blocks).toBe(0);
    expect(inode.size).toBe(140_000_000 * PAGE + 1);
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });

  it('leaves room to delete when nothing is left', () => {
    const volume = createVolume(4 << 20);
    const fs = volume.kernel.mount();
    const free = fs.statfs().bfree;
    let files = 0;
    expect(() => {
      for (; ; files++) fs.writeFile(`/f${files}`, new Uint8Array(3 * PAGE));
    }).toThrow('ENOSPC');
    for (let n = 0; n < files; n++) {
      if (n % 3 === 0) fs.truncate(`/f${n}`, 100);
      if (n % 3 === 1) fs.fallocate(`/f${n}`, PUNCH, PAGE, PAGE);
      fs.unlink(`/f${n}`);
    }
    if (fs.exists(`/f${files}`)) fs.unlink(`/f${files}`);
    // But for the inode table and the block of the root's names, which stay.
    expect(fs.statfs().bfree).toBeGreaterThan(free - 40);
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });
});
