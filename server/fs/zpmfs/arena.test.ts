// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { FakeKernel, type FakeMount } from '../../zt/fake-kernel.ts';
import { checkFileSystem, memorySource } from './check.ts';
import { BLOCK_SIZE } from './format.ts';
import { makeFileSystem } from './make.ts';
import { addon } from './test-volume.ts';
import { zpmfs } from './zpmfs.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const MIB = 1 << 20;
const DEVICE = 32 * MIB;

/** Two nodes with a device and two CPUs each. */
function start(): { kernel: FakeKernel; fs: FakeMount } {
  const devices = [
    { node: 0, bytes: DEVICE },
    { node: 1, bytes: DEVICE },
  ];
  const kernel = new FakeKernel({ fileSystem: zpmfs, devices, cpus: 4, cpuNodes: [0, 0, 1, 1], addon });
  const made = devices.map(({ node, bytes }) => ({ node, blocks: bytes / BLOCK_SIZE }));
  makeFileSystem(made, { hashSeed: 1 }, (block, bytes) => kernel.memory.set(bytes, block * BLOCK_SIZE));
  return { kernel, fs: kernel.mount() };
}

/** Where the bytes of files lie. */
function places(fs: FakeMount, names: readonly string[]): number[] {
  return names.flatMap((name) =>
    fs.fiemap(name).flatMap(({ physical, length }) => [physical, physical + length - 1]),
  );
}

describe('arenas', () => {
  it('give each CPU blocks of its own, in the pmem of its node', () => {
    const { kernel, fs } = start();
    const names: string[][] = [[], [], [], []];
    for (let n = 0; n < 40; n++) {
      kernel.cpu = n % 4;
      const name = `/file${n}`;
      fs.writeFile(name, new Uint8Array(n % 8 === 0 ? MIB : 20_000).fill(n));
      names[n % 4].push(name);
    }
    const ranges = names.map((own) => places(fs, own)).map((own) => [Math.min(...own), Math.max(...own)]);
    for (const cpu of [0, 1, 2, 3]) {
      const [from, to] = ranges[cpu];
      const node = cpu < 2 ? 0 : 1;
      expect(Math.floor(from / DEVICE)).toBe(node);
      expect(Math.floor(to / DEVICE)).toBe(node);
    }
    // CPUs of one node keep out of each other's way.
    expect(ranges[0][1]).toBeLessThan(ranges[1][0]);
    expect(ranges[2][1]).toBeLessThan(ranges[3][0]);
    fs.unmount();
  });

  it('let a CPU go on elsewhere when its own is full', () => {
    const { kernel, fs } = start();
    kernel.cpu = 1;
    let files = 0;
    expect(() => {
      for (; ; files++) fs.writeFile(`/file${files}`, new Uint8Array(MIB).fill(files));
    }).toThrow('ENOSPC');
    // All there is but the reserve, though it began with a quarter.
    expect(files).toBeGreaterThan(55);
    expect(Math.max(...places(fs, [`/file${files - 1}`]))).toBeGreaterThan(DEVICE);
    let whole = 0;
    for (let n = 0; n < files; n++) {
      const data = fs.readFile(`/file${n}`);
      expect(Buffer.compare(data, new Uint8Array(data.length).fill(n))).toBe(0);
      if (data.length === MIB) whole++;
    }
    expect(whole).toBeGreaterThan(55);
    fs.unmount();
    expect(checkFileSystem(memorySource(kernel.memory)).problems.map(String)).toEqual([]);
  });

  it('start large files where a huge page starts', () => {
    const { kernel, fs } = start();
    kernel.cpu = 3;
    fs.writeFile('/small', 'x');
    fs.writeFile('/large', new Uint8Array(7 * MIB));
    for (const { logical, physical } of fs.fiemap('/large')) {
      expect((physical - logical) % (2 * MIB)).toBe(0);
    }
    fs.unmount();
  });
});
