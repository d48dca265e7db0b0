// SPDX-License-Identifier: BSD-3-Clause

import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { fileSystemNames, loadFileSystems } from '../fs/index.ts';
import { buildAddon } from '../native/build.ts';
import { letThreadsCollectGarbage } from './collect-garbage.ts';
import type { ZtThreadData, ZtThreadResult } from './testing/zt-thread.ts';

const addon = buildAddon();
letThreadsCollectGarbage();
/** Those that can be written to without a device. */
const writable = (await loadFileSystems(fileSystemNames)).filter(
  ({ formatScratch }) => formatScratch !== undefined,
);

async function run(data: Omit<ZtThreadData, 'addon'>): Promise<ZtThreadResult> {
  const worker = new Worker(new URL('testing/zt-thread.ts', import.meta.url), {
    workerData: { addon, ...data } satisfies ZtThreadData,
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

describe('the loop of a ZT', () => {
  it('finds the garbage that a wasteful handler makes', { timeout: 300_000 }, async () => {
    const result = await run({ fileSystem: 'nullfs', operations: 500_000, wasteful: true });
    expect(result.collections.length).toBeGreaterThan(0);
  });

  const cleanly = async (fileSystem: string, operations: number, options = ''): Promise<void> => {
    const result = await run({ fileSystem, operations, options, wasteful: false });
    const { p50, p99, p999, nanosecondsPerOperation, allocatedBytes, collections, warmUpOperations } = result;
    process.stdout.write(
      `${fileSystem} ${options}: ${Math.round(nanosecondsPerOperation)} ns an operation, p50 ${p50} ns, p99 ${p99} ns, ` +
        `p99.9 ${p999} ns, ${collections.length} collections, ${allocatedBytes} bytes allocated since the last, after ${warmUpOperations} to warm up\n`,
    );
    expect(result).toMatchObject({ operations, errors: 0, failedCommand: -1 });
    expect(collections).toEqual([]);
    // The profiler and the look at the heap themselves make some kilobytes.
    expect(allocatedBytes).toBeLessThan(64 << 10);
  };
  const names = writable.map(({ info }) => info.name);

  it.each(names)(
    'serves ten million operations of %s and nothing has to be collected',
    { timeout: 300_000 },
    (name) => cleanly(name, 10_000_000),
  );

  it('serves two millions of zpmfs with quotas, and nothing either', { timeout: 300_000 }, () =>
    cleanly('zpmfs', 2_000_000, 'usrquota,grpquota,prjquota'),
  );
});
