// SPDX-License-Identifier: BSD-3-Clause

import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { DirectoryLocks } from '../../zt/fake-locks.ts';
import { BLOCK_WORDS, SB_SAVED_BLOCK } from './format.ts';
import { ALL_QUOTAS, usageSeen, usageTold } from './test-quota.ts';
import type { StressData } from './test-stress-worker.ts';
import { checkMemory, createJoinable } from './test-volume.ts';

/** ZPMFS_LONG=1 runs for minutes instead of seconds. */
const long = process.env.ZPMFS_LONG !== undefined;
const steps = long ? 25_000 : 400;

function runWorker(data: StressData): Promise<{ done: number; reports: string[] }> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./test-stress-worker.ts', import.meta.url), { workerData: data });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

const WORKERS = 4;
const DIRECTORIES = ['a-shared', 'b-shared', 'c-shared'];

describe('four ZTs at once', () => {
  it.each([
    ['in directories of their own', false],
    ['in the same directories', true],
  ])(
    '%s agree with their models and leave a clean file system',
    { timeout: 3_600_000 },
    async (_, together) => {
      const length = 96 << 20;
      const { volume, mounts } = createJoinable(length);
      const { kernel } = volume;
      const fs = kernel.mount({ options: ALL_QUOTAS });
      const free = fs.statfs().bfree;
      const [result] = mounts;
      for (const name of DIRECTORIES) fs.mkdir(`/${name}`);
      const sharing = together ? { locks: new DirectoryLocks().buffer, directories: DIRECTORIES } : null;
      const workers = Array.from({ length: WORKERS }, (_unused, zt) => {
        const root = together ? fs.root : fs.mkdir(`/worker${zt}`);
        return runWorker({
          zt: zt + 1,
          seed: 100 + zt,
          steps,
          address: volume.address,
          length,
          mounted: { ...result, rootCookie: root.cookie, rootInode: root.dpp },
          sharing,
        });
      });
      let succeeded = 0;
      for (const { done, reports } of await Promise.all(workers)) {
        expect(reports).toEqual([]);
        expect(done).toBeGreaterThan(70);
        succeeded += done;
      }
      process.stdout.write(
        `four ZTs ${together ? 'in shared' : 'in their own'} directories: ${WORKERS * steps} operations, ${succeeded} of them succeeded; all alike\n`,
      );
      fs.dropCaches();
      const used = free - fs.statfs().bfree;
      expect(usageTold(fs)).toEqual(usageSeen(fs));
      fs.unmount();
      expect(checkMemory(volume)).toEqual([]);
      // What the allocator counted is what the next mount counts, by what was saved and by a walk.
      for (let round = 0; round < 2; round++) {
        const again = volume.kernel.mount();
        expect(free - again.statfs().bfree).toBe(used);
        again.unmount();
        new Uint32Array(volume.bytes.buffer, volume.bytes.byteOffset)[BLOCK_WORDS + SB_SAVED_BLOCK] = 0;
      }
    },
  );
});
