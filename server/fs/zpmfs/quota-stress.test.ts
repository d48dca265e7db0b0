// SPDX-License-Identifier: BSD-3-Clause

import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { DirectoryLocks } from '../../zt/fake-locks.ts';
import { usageSeen, usageTold } from './test-quota.ts';
import type { QuotaWork, QuotaWorkDone } from './test-quota-worker.ts';
import { checkMemory, createJoinable } from './test-volume.ts';

const WORKERS = 4;
const OWNER = 7;
const BUSY_OWNER = 99;
const BUSY_TURNS = 100_000;
const SPACE = 40 * 4096;
const INODES = 8;

function runWorker(data: QuotaWork): Promise<QuotaWorkDone> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./test-quota-worker.ts', import.meta.url), { workerData: data });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

describe('four ZTs at once that work for one owner', () => {
  it('never have more than its limits together, and what is counted is what there is', {
    timeout: 120_000,
  }, async () => {
    const { volume, mounts } = createJoinable(64 << 20);
    const fs = volume.kernel.mount({ options: 'usrquota' });
    fs.setQuota(0, OWNER, { spaceHard: SPACE, inodesHard: INODES });
    const { address, bytes } = volume;
    const locks = new DirectoryLocks().buffer;
    const all = await Promise.all(
      Array.from({ length: WORKERS }, (_, zt) =>
        runWorker({
          zt: zt + 1,
          address,
          length: bytes.length,
          mounted: mounts[0],
          steps: 2000,
          owner: OWNER,
          busyOwner: BUSY_OWNER,
          busyTurns: BUSY_TURNS,
          locks,
        }),
      ),
    );
    const sum = (outcome: string) => all.reduce((count, { outcomes }) => count + (outcomes[outcome] ?? 0), 0);
    expect(sum('OK')).toBeGreaterThan(1000);
    expect(sum('EDQUOT')).toBeGreaterThan(200);
    expect(Math.max(...all.map((each) => each.mostSpace))).toBe(SPACE);
    expect(Math.max(...all.map((each) => each.mostInodes))).toBe(INODES);
    expect(all.flatMap((each) => each.reports)).toEqual([]);
    const busy = fs.getQuota(0, BUSY_OWNER);
    expect(busy).toMatchObject({ space: WORKERS * BUSY_TURNS * 4096, inodes: 0 });
    const { [`0:${BUSY_OWNER}`]: _busy, ...told } = usageTold(fs);
    expect({ ...told, '1:0': null, '2:0': null }).toEqual({ ...usageSeen(fs), '1:0': null, '2:0': null });
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });
});
