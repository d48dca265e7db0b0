// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import type { FakeMount } from '../../zt/fake-mount.ts';
import type { Core } from './core.ts';
import { EIO } from './errno.ts';
import { CHUNK_BLOCKS, H_FREE_BLOCKS } from './shared.ts';
import { outcomeOf } from './test-quota.ts';
import { addon, checkMemory, formatVolume, Volume } from './test-volume.ts';
import { Zpmfs, zpmfs } from './zpmfs.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const PAGE = 4096;
const MIB = 1 << 20;
const page = (value: number, pages = 1) => new Uint8Array(pages * PAGE).fill(value);

interface Opened {
  readonly volume: Volume;
  readonly fs: FakeMount;
  /** What serves the mount's operations. */
  readonly core: Core;
}

/** A mount whose allocator can be looked into. */
function open(length: number): Opened {
  const cores: Core[] = [];
  const volume = new Volume(addon.mmapAnonymous(length), length, 1, {
    ...zpmfs,
    attach: (request) => {
      const thread = new Zpmfs(request);
      cores.push(thread.core);
      return thread;
    },
  });
  formatVolume(volume);
  const fs = volume.kernel.mount();
  fs.mkdir('/attached');
  return { volume, fs, core: cores[0] };
}

/** As `toEqual`, which is slow for megabytes. */
function expectBytes(got: Uint8Array, expected: Uint8Array): void {
  expect(got.length).toBe(expected.length);
  expect(Buffer.compare(got, expected)).toBe(0);
}

const errorsOf = (volume: Volume) => volume.log.filter((line) => line.startsWith('error'));

/** The next mount counts as many free blocks as this one, but for `lost`. */
function expectCount({ volume, fs }: Opened, lost = 0): void {
  const { bfree } = fs.statfs();
  fs.unmount();
  expect(checkMemory(volume)).toEqual([]);
  const next = volume.reopen().kernel.mount();
  expect(next.statfs().bfree).toBe(bfree + lost);
  next.unmount();
}

describe('a promise of blocks', () => {
  it('is all that can be taken, and what is left of it goes back', () => {
    const { volume, core } = open(4 * MIB);
    const { allocator } = core;
    const free = allocator.free();
    expect(allocator.reserve(3, false)).toBe(true);
    expect(allocator.free()).toBe(free - 3);
    expect(allocator.takeMetadata()).toBeGreaterThan(0);
    expect(allocator.takeRun(3, 0, 0, false)).toBe(-EIO);
    expect(allocator.takeRun(1, 0, 0, false)).toBeGreaterThan(0);
    expect(allocator.takeNear(2, 0, 40)).toBe(-EIO);
    allocator.unreserve();
    expect(allocator.free()).toBe(free - 2);
    expect(allocator.takeMetadata()).toBe(-EIO);
    allocator.unreserve();
    expect(allocator.free()).toBe(free - 2);
    expect(errorsOf(volume)).toEqual([
      'error: zpmfs: an operation was refused because it took more blocks than it was promised',
    ]);
  });

  it('that was cut short goes back when the next is made', () => {
    const { core } = open(4 * MIB);
    const { allocator } = core;
    const free = allocator.free();
    expect(allocator.reserve(10, false)).toBe(true);
    expect(allocator.reserve(free + 1, true)).toBe(false);
    expect(allocator.reserve(free, true)).toBe(true);
    expect(allocator.free()).toBe(0);
  });

  it('that is too small for an operation makes it fail before anything is changed', () => {
    const opened = open(16 * MIB);
    const { volume, fs, core } = opened;
    fs.writeFile('/f', page(1, 3));
    const { nodesFor } = core.mapping;
    core.mapping.nodesFor = () => 0;
    expect(outcomeOf(() => fs.write('/f', 2 ** 40, 'far away'))).toBe('EIO');
    core.mapping.nodesFor = nodesFor;
    expect(fs.stat('/f')).toMatchObject({ size: 3 * PAGE, blocks: 3 });
    expectBytes(fs.readFile('/f'), page(1, 3));
    expect(errorsOf(volume)).toHaveLength(1);
    fs.write('/f', 2 ** 40, 'far away');
    expect(new TextDecoder().decode(fs.read('/f', 2 ** 40, 8))).toBe('far away');
    // The one that it had taken.
    expectCount(opened, 1);
  });

  it('covers the copies of blocks that can take no more references, even if others took the last', () => {
    const opened = open(16 * MIB);
    const { fs, core } = opened;
    fs.writeFile('/f', page(5, 700));
    fs.writeFile('/g', page(6, 100));
    core.allocator.share = () => false;
    fs.clone('/f', 0, '/g', 50 * PAGE, 700 * PAGE);
    expectBytes(fs.readFile('/g'), Buffer.concat([page(6, 50), page(5, 700)]));
    expect(fs.stat('/g').blocks).toBe(750);
    expectCount(opened);
  });

  it('of a clone that does not fit leaves no references behind', () => {
    const opened = open(4 * MIB);
    const { fs, core } = opened;
    fs.writeFile('/f', page(5, 300));
    fs.create('/g');
    const { share } = core.allocator;
    let calls = 0;
    core.allocator.share = (block) => calls++ < 100 && share.call(core.allocator, block);
    fs.writeFile('/rest', page(7, fs.statfs().bavail - 100));
    expect(outcomeOf(() => fs.clone('/f', 0, '/g', 0, 300 * PAGE))).toBe('ENOSPC');
    expect(calls).toBe(300);
    expect(fs.stat('/g').blocks).toBe(0);
    fs.unlink('/f');
    expectCount(opened);
  });
});

describe('a count of free blocks that is too high', () => {
  it('ends writing with ENOSPC and a word in the log', () => {
    const opened = open(4 * MIB);
    const { volume, fs, core } = opened;
    const tooMany = 40;
    Atomics.add(core.shared.header, H_FREE_BLOCKS, tooMany);
    fs.create('/f');
    let size = 0;
    const outcome = outcomeOf(() => {
      for (; ; size += PAGE) fs.write('/f', size, page(9));
    });
    expect(outcome).toBe('ENOSPC');
    expect(errorsOf(volume).join()).toMatch(
      /error: zpmfs: \d+ blocks are free by the count, and none is found/,
    );
    expect(errorsOf(volume)).toHaveLength(1);
    // Nobody holds a lock, and the server goes on.
    expectBytes(fs.readFile('/f'), page(9, size / PAGE));
    fs.truncate('/f', PAGE);
    fs.unlink('/f');
    fs.writeFile('/g', page(3, 100));
    expectBytes(fs.readFile('/g'), page(3, 100));
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });

  it('in one chunk keeps nobody from finding room in others', () => {
    const { volume, fs, core } = open(8 * MIB);
    const { chunkFree, groupFree } = core.shared;
    fs.writeFile('/f', page(1));
    const chunk = Math.floor(fs.fiemap('/f')[0].physical / PAGE / CHUNK_BLOCKS);
    Atomics.add(chunkFree, chunk, 300);
    Atomics.add(groupFree, 0, 300);
    for (let n = 0; n < 80; n++) fs.writeFile(`/f${n}`, page(n, 10));
    for (let n = 0; n < 80; n++) fs.symlink('s'.repeat(100), `/s${n}`);
    for (let n = 0; n < 80; n++) expectBytes(fs.readFile(`/f${n}`), page(n, 10));
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });
});
