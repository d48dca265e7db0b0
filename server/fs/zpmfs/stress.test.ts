// SPDX-License-Identifier: BSD-3-Clause

import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { FakeKernel } from '../../zt/fake-kernel.ts';
import type { FileSystem, MountResult } from '../filesystem.ts';
import type { StressData } from './test-stress-worker.ts';
import { addon, checkMemory, createVolume } from './test-volume.ts';
import { zpmfs } from './zpmfs.ts';

/** ZPMFS_LONG=1 runs for minutes instead of seconds. */
const long = process.env.ZPMFS_LONG !== undefined;

function runWorker(data: StressData): Promise<{ done: number; reports: string[] }> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./test-stress-worker.ts', import.meta.url), { workerData: data });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

describe('several ZTs at once', () => {
  it('agree with their models and leave a clean file system', { timeout: 600_000 }, async () => {
    const length = 96 << 20;
    const volume = createVolume(length);
    let mounted: MountResult | undefined;
    const spied: FileSystem = {
      ...zpmfs,
      mount: (request) => {
        mounted = zpmfs.mount(request);
        return mounted;
      },
    };
    const kernel = new FakeKernel({
      fileSystem: spied,
      memory: { address: volume.address, length },
      addon,
    });
    const fs = kernel.mount();
    const free = fs.statfs().bfree;
    if (mounted === undefined) throw new Error('not mounted');
    const result = mounted;
    const workers = [0, 1, 2].map((zt) => {
      const directory = fs.mkdir(`/worker${zt}`);
      return runWorker({
        zt: zt + 1,
        seed: 100 + zt,
        steps: long ? 20_000 : 600,
        address: volume.address,
        length,
        mounted: { ...result, rootCookie: directory.cookie, rootInode: directory.dpp },
      });
    });
    for (const { done, reports } of await Promise.all(workers)) {
      expect(reports).toEqual([]);
      expect(done).toBeGreaterThan(100);
    }
    fs.dropCaches();
    const used = free - fs.statfs().bfree;
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
    // What the allocator counted is what the next mount counts.
    const again = volume.kernel.mount();
    expect(free - again.statfs().bfree).toBe(used);
    again.unmount();
  });
});
