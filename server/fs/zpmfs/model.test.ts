// SPDX-License-Identifier: BSD-3-Clause

import { afterAll, describe, expect, it } from 'vitest';
import { ModelRun } from './test-model.ts';
import { checkMemory, createVolume } from './test-volume.ts';

/** ZPMFS_LONG=1 runs for minutes instead of seconds. */
const long = process.env.ZPMFS_LONG !== undefined;
const seeds = long ? 40 : 3;
const steps = long ? 5000 : 500;

const totals = { operations: 0, succeeded: 0, mounts: 0 };
afterAll(() => {
  const { operations, succeeded, mounts } = totals;
  process.stdout.write(
    `model: ${operations} operations, ${succeeded} of them succeeded on both sides, ${mounts} mounts; all alike\n`,
  );
});

describe('random operations against a model', () => {
  for (let seed = 0; seed < seeds; seed++) {
    it(`agree, seed ${seed}`, { timeout: 600_000 }, () => {
      let volume = createVolume(48 << 20, 2);
      let fs = volume.kernel.mount();
      let succeeded = 0;
      const run = new ModelRun(seed, () => fs);
      for (let step = 1; step <= steps; step++) {
        volume.kernel.cpu = step % 2;
        volume.kernel.pageOffset = (step * 37) % 4096;
        if (run.step() === 'OK') succeeded++;
        if (step % 100 !== 0) continue;
        run.compare();
        // Every other time the server dies instead of unmounting.
        const free = fs.statfs().bfree;
        if (step % 200 === 0) fs.unmount();
        else volume = volume.reopen();
        expect(checkMemory(volume), run.history.slice(-100).join('\n')).toEqual([]);
        fs = volume.kernel.mount();
        totals.mounts++;
        // What the allocator counted is what the mount finds: nothing was lost, nothing freed twice.
        expect(fs.statfs().bfree).toBe(free);
        run.compare();
      }
      fs.unmount();
      expect(volume.kernel.reports).toEqual([]);
      expect(succeeded).toBeGreaterThan(steps / 4);
      totals.operations += steps;
      totals.succeeded += succeeded;
    });
  }
});
