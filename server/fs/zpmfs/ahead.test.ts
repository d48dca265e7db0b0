// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { FLAG } from '../../abi/layout.ts';
import { FALLOC, type FakeMount, QUOTA } from '../../zt/fake-mount.ts';
import { outcomeOf } from './test-quota.ts';
import { checkMemory, createVolume } from './test-volume.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const PAGE = 4096;
const page = (value: number, pages = 1) => new Uint8Array(pages * PAGE).fill(value);
const AHEAD = FLAG.ZUFS_RW_WRITE | FLAG.ZUFS_RW_AHEAD;

/** Ask for blocks behind the four that `/a` has; returns their numbers. */
function askAhead(fs: FakeMount, count: number): number[] {
  const { blocks, writable, reply } = fs.getBlocks('/a', 4 * PAGE, count * PAGE, AHEAD);
  expect(writable).toEqual(blocks.map(() => true));
  fs.putBlocks(reply);
  return blocks.map((block) => block ?? 0);
}

describe('blocks ahead of the end of a file', () => {
  it('come zeroed, are counted, and are part of the file once the kernel has set its size', () => {
    const volume = createVolume(16 << 20);
    const { kernel, bytes } = volume;
    const fs = kernel.mount();
    fs.writeFile('/old', page(7, 600));
    fs.unlink('/old');
    fs.writeFile('/a', page(1, 4));
    const free = fs.statfs().bfree;
    for (const block of askAhead(fs, 16))
      expect(bytes.subarray(block * PAGE, (block + 1) * PAGE).every((byte) => byte === 0)).toBe(true);
    expect(fs.stat('/a')).toMatchObject({ size: 4 * PAGE, blocks: 20 });
    fs.appendAhead('/a', page(2, 3).subarray(100), 16);
    expect(fs.stat('/a')).toMatchObject({ size: 7 * PAGE - 100, blocks: 20 });
    expect(fs.readFile('/a').subarray(4 * PAGE)).toEqual(page(2, 3).subarray(100));
    fs.dropAhead('/a', 20);
    expect(fs.stat('/a')).toMatchObject({ size: 7 * PAGE - 100, blocks: 7 });
    expect(Number(free) - Number(fs.statfs().bfree)).toBe(3);
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });

  it('are given only where there are none', () => {
    const fs = createVolume(16 << 20).kernel.mount();
    fs.writeFile('/a', page(1, 4));
    fs.fallocate('/a', FALLOC.KEEP_SIZE, 8 * PAGE, 4 * PAGE);
    expect(askAhead(fs, 16)).toHaveLength(4);
    fs.dropAhead('/a', 8);
    expect(fs.stat('/a').blocks).toBe(8);
    fs.fallocate('/a', FALLOC.KEEP_SIZE, 4 * PAGE, PAGE);
    expect(outcomeOf(() => askAhead(fs, 16))).toBe('ENOSPC');
    expect(fs.stat('/a').blocks).toBe(9);
  });

  it('are not given back when they lie before its end by then', () => {
    const fs = createVolume(16 << 20).kernel.mount();
    fs.writeFile('/a', page(1, 4));
    askAhead(fs, 16);
    fs.appendAhead('/a', page(2, 16), 16);
    fs.dropAhead('/a', 20);
    fs.dropAhead('/a', 7);
    expect(fs.stat('/a')).toMatchObject({ size: 20 * PAGE, blocks: 20 });
    expect(fs.readFile('/a').subarray(4 * PAGE)).toEqual(page(2, 16));
  });

  it('are given while there are many more of them', () => {
    const fs = createVolume(4 << 20).kernel.mount();
    fs.writeFile('/a', page(1, 4));
    expect(askAhead(fs, 16)).toHaveLength(16);
    fs.dropAhead('/a', 20);
    fs.fallocate(fs.create('/full'), 0, 0, (Number(fs.statfs().bavail) - 200) * PAGE);
    expect(outcomeOf(() => askAhead(fs, 16))).toBe('ENOSPC');
    expect(askAhead(fs, 4)).toHaveLength(4);
  });

  it('count as what the owner has, and are not given close to his limit', () => {
    const fs = createVolume(16 << 20).kernel.mount({ options: 'usrquota' });
    fs.setQuota(QUOTA.USER, 7, { spaceHard: 400 * PAGE });
    fs.create('/a', { uid: 7 });
    fs.write('/a', 0, page(1, 4));
    askAhead(fs, 16);
    expect(fs.getQuota(QUOTA.USER, 7).space).toBe(20 * PAGE);
    fs.dropAhead('/a', 20);
    expect(fs.getQuota(QUOTA.USER, 7).space).toBe(4 * PAGE);
    fs.fallocate(fs.create('/b', { uid: 7 }), 0, 0, 200 * PAGE);
    expect(outcomeOf(() => askAhead(fs, 16))).toBe('ENOSPC');
    expect(fs.getQuota(QUOTA.USER, 7).space).toBe(204 * PAGE);
  });

  it('that a crash left are taken up again, and show nothing of what was stored to them', () => {
    const volume = createVolume(16 << 20);
    let fs = volume.kernel.mount();
    fs.writeFile('/a', page(1, 4));
    const given = askAhead(fs, 16);
    for (const block of given) volume.bytes.fill(0xdb, block * PAGE, (block + 1) * PAGE);
    const crashed = volume.reopen();
    expect(checkMemory(crashed)).toEqual([]);
    fs = crashed.kernel.mount();
    expect(askAhead(fs, 16)).toEqual(given);
    fs.truncate('/a', 6 * PAGE + 5);
    fs.write('/a', 8 * PAGE + 7, page(3));
    fs.fallocate('/a', 0, 10 * PAGE, 2 * PAGE);
    fs.writeFile('/b', page(4, 2));
    fs.clone('/b', 0, '/a', 15 * PAGE, 2 * PAGE);
    const expected = new Uint8Array(17 * PAGE);
    expected.set(page(1, 4));
    expected.set(page(3), 8 * PAGE + 7);
    expected.set(page(4, 2), 15 * PAGE);
    expect(fs.readFile('/a')).toEqual(expected);
    fs.unmount();
    expect(checkMemory(crashed)).toEqual([]);
  });
});
