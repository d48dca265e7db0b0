// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import type { FakeMount } from '../../zt/fake-kernel.ts';
import { BLOCK_SIZE } from './format.ts';
import { Random } from './test-model.ts';
import { checkMemory, createVolume } from './test-volume.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const BLOCKS = 2048;
const MANY = 4000;

/** Writes single blocks of the file until each of `blocks` was written, in an order that never tells the next. */
function writeInAnyOrder(fs: FakeMount, path: string, blocks: number): void {
  const random = new Random(7);
  const left = Array.from({ length: blocks }, (_, block) => block);
  while (left.length > 0) {
    const at = random.next(left.length);
    const block = left[at];
    left[at] = left[left.length - 1];
    left.pop();
    fs.write(path, block * BLOCK_SIZE, new Uint8Array(BLOCK_SIZE).fill(block));
  }
}

function check(fs: FakeMount, path: string, blocks: number): void {
  const data = fs.readFile(path);
  for (let block = 0; block < blocks; block++) expect(data[block * BLOCK_SIZE + 5]).toBe(block & 0xff);
}

describe('a file written in any order', () => {
  it('lies in order, with other files growing beside it', () => {
    const volume = createVolume(64 << 20);
    const fs = volume.kernel.mount();
    fs.create('/file');
    fs.truncate('/file', BLOCKS * BLOCK_SIZE);
    for (let n = 0; n < 50; n++) fs.writeFile(`/small${n}`, new Uint8Array(5000));
    writeInAnyOrder(fs, '/file', BLOCKS);
    // A window is 32 blocks; one write in 32 is the first in its window.
    expect(fs.fiemap('/file', 0, 2 ** 52, MANY).length).toBeLessThan(BLOCKS / 16);
    check(fs, '/file', BLOCKS);
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });

  it('lies in order though it shared all its blocks with another', () => {
    const volume = createVolume(64 << 20);
    const fs = volume.kernel.mount();
    const first = fs.writeFile('/first', new Uint8Array(BLOCKS * BLOCK_SIZE).fill(1));
    expect(fs.fiemap(first, 0, 2 ** 52, MANY).length).toBeLessThan(8);
    fs.clone(first, 0, fs.create('/second'), 0, BLOCKS * BLOCK_SIZE);
    writeInAnyOrder(fs, '/second', BLOCKS);
    expect(fs.fiemap('/second', 0, 2 ** 52, MANY).length).toBeLessThan(BLOCKS / 16);
    check(fs, '/second', BLOCKS);
    expect(fs.readFile(first).every((byte) => byte === 1)).toBe(true);
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });

  it('takes what there is when all empty windows are gone', () => {
    const volume = createVolume(8 << 20);
    const fs = volume.kernel.mount();
    fs.create('/file');
    fs.truncate('/file', 64 << 20);
    const { bavail } = fs.statfs();
    let written = 0;
    // One block in each window of the file.
    expect(() => {
      for (let block = 0; ; block += 32, written++)
        fs.write('/file', (block % 16_384) * BLOCK_SIZE + Math.floor(block / 16_384) * BLOCK_SIZE, 'x');
    }).toThrow('ENOSPC');
    expect(written).toBeGreaterThan(bavail * 0.9);
    fs.unlink('/file');
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });
});

describe('what statfs says is available', () => {
  it.each([8, 64, 200])('can be allocated in one file, of %i MiB', (mebibytes) => {
    const volume = createVolume(mebibytes << 20);
    const fs = volume.kernel.mount();
    for (let n = 0; n < 20; n++) fs.writeFile(`/small${n}`, new Uint8Array(5000));
    fs.create('/file');
    const { bavail, bfree } = fs.statfs();
    fs.fallocate('/file', 0, 0, bavail * BLOCK_SIZE);
    expect(fs.inode('/file').stat().blocks).toBe(bavail);
    // Only what maps the file went beside it, and there is next to nothing left.
    expect(bfree - fs.statfs().bfree - bavail).toBeLessThanOrEqual(Math.ceil(bavail / 512) + 2);
    expect(fs.statfs().bavail).toBeLessThan(24 + bavail / 10_000);
    fs.unlink('/file');
    expect(fs.statfs().bfree).toBe(bfree);
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });
});
