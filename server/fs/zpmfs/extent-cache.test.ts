// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { FLAG } from '../../abi/layout.ts';
import { FALLOC } from '../../zt/fake-mount.ts';
import { checkMemory, createVolume } from './test-volume.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const PAGE = 4096;
const page = (value: number, pages = 1) => new Uint8Array(pages * PAGE).fill(value);

/** What the kernel may keep of the blocks that it asked for: as long as it sends no operation on that inode itself. */
describe('blocks that the kernel keeps', () => {
  it('stay where they are, whatever happens to other files', () => {
    const volume = createVolume(16 << 20, 2);
    const { kernel, bytes } = volume;
    const fs = kernel.mount();
    fs.writeFile('/kept', page(1, 8));
    fs.writeFile('/other', page(2, 8));
    fs.clone('/kept', 0, fs.create('/clone'), 0, 8 * PAGE);
    const before = fs.getBlocks('/kept', 0, 8 * PAGE);
    kernel.cpu = 1;
    fs.write('/clone', 0, page(3, 2));
    fs.truncate('/clone', 4 * PAGE);
    fs.unlink('/clone');
    fs.fallocate('/other', FALLOC.COLLAPSE_RANGE, 0, PAGE);
    for (let n = 0; n < 50; n++) fs.writeFile(`/new${n}`, page(4, 3));
    fs.unlink('/other');
    const after = fs.getBlocks('/kept', 0, 8 * PAGE);
    expect(after.blocks).toEqual(before.blocks);
    for (const block of before.blocks) expect(bytes[(block ?? 0) * PAGE]).toBe(1);
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });

  it('are for the kernel to store to only where nobody else has them', () => {
    const { kernel, bytes } = createVolume(8 << 20);
    const fs = kernel.mount();
    fs.writeFile('/a', page(1, 4));
    fs.fallocate('/a', 0, 4 * PAGE, PAGE);
    expect(fs.getBlocks('/a', 0, 5 * PAGE).writable).toEqual([true, true, true, true, false]);
    fs.clone('/a', PAGE, fs.create('/b'), 0, 2 * PAGE);
    expect(fs.getBlocks('/a', 0, 4 * PAGE).writable).toEqual([true, false, false, true]);
    expect(fs.getBlocks('/b', 0, 2 * PAGE).writable).toEqual([false, false]);
    // Asked for by a writer they become its own.
    const own = fs.getBlocks('/b', 0, PAGE, FLAG.ZUFS_RW_WRITE);
    expect(own.writable).toEqual([true]);
    bytes.fill(9, (own.blocks[0] ?? 0) * PAGE, (own.blocks[0] ?? 0) * PAGE + PAGE);
    expect(fs.readFile('/a')[PAGE]).toBe(1);
    expect(fs.readFile('/b')[0]).toBe(9);
    // The other side has its block to itself again.
    expect(fs.getBlocks('/a', 0, 4 * PAGE).writable).toEqual([true, true, false, true]);
    fs.unmount();
  });

  it('stay when the file is written in place, and when it grows', () => {
    const { kernel } = createVolume(8 << 20);
    const fs = kernel.mount();
    fs.writeFile('/a', page(1, 4));
    const { blocks } = fs.getBlocks('/a', 0, 4 * PAGE);
    fs.write('/a', 100, page(2, 2));
    fs.write('/a', 4 * PAGE, page(3, 600));
    fs.setxattr('/a', 'user.a', page(1));
    fs.truncate('/a', 700 * PAGE);
    expect(fs.getBlocks('/a', 0, 4 * PAGE).blocks).toEqual(blocks);
    fs.unmount();
  });

  it('come zeroed where there were none, and in as many as are asked for', () => {
    const { kernel, bytes } = createVolume(16 << 20);
    const fs = kernel.mount();
    fs.writeFile('/old', page(7, 600));
    fs.unlink('/old');
    fs.create('/a');
    fs.truncate('/a', 512 * PAGE);
    const { blocks, isNew } = fs.getBlocks('/a', 0, 512 * PAGE, FLAG.ZUFS_RW_WRITE);
    expect(blocks.length).toBe(512);
    expect(isNew).toBe(true);
    for (const block of blocks) {
      const at = (block ?? 0) * PAGE;
      expect(bytes.subarray(at, at + PAGE).every((byte) => byte === 0)).toBe(true);
    }
    fs.unmount();
  });
});
