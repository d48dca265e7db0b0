// SPDX-License-Identifier: BSD-3-Clause

import { afterAll, describe, expect, it } from 'vitest';
import { type CrashOptions, CrashRun } from './test-crash.ts';
import { Random } from './test-model.ts';
import { use, WORKLOADS, type Workload } from './test-workloads.ts';

/**
 * ZPMFS_LONG=1 looks at 2,000 pairs, all operations in all four settings, and four images at each fence; two in a pair. With
 * ZPMFS_ROUND=n-m of the pairs of each setting only those from n to m.
 */
const long = process.env.ZPMFS_LONG !== undefined;
const pairs = long ? 2000 : 8;
const [from, to] = (process.env.ZPMFS_ROUND ?? `0-${pairs / 2 - 1}`).split('-').map(Number);

const totals = { runs: 0, images: 0, fences: 0, recoveries: 0, deleted: 0 };

function count(run: CrashRun): void {
  totals.runs++;
  totals.images += run.images;
  totals.fences += run.fences;
  totals.recoveries += run.recoveries;
  totals.deleted += run.deleted;
}

afterAll(() => {
  const { images, fences, recoveries, deleted } = totals;
  process.stdout.write(
    `power failures: ${images} states at ${fences} fences, ${recoveries} of them crashed in recovery too, ${deleted} emptied; no violation\n`,
  );
});

function createRun(used: boolean, cpus: number, options: CrashOptions): CrashRun {
  const run = new CrashRun({ cpus, samples: long ? 2 : 1, extremes: false, ...options });
  if (used) run.quietly(use);
  run.keep();
  return run;
}

/** Do one, with what it needs made on one CPU and itself done on another. */
function crash(
  run: CrashRun,
  cpus: number,
  { name, prepare, act }: Workload,
  directory: string,
  n: number,
): void {
  run.kernel.cpu = n % cpus;
  run.quietly((fs) => {
    fs.mkdir(directory);
    prepare?.(fs, directory);
  });
  run.kernel.cpu = (n + 1) % cpus;
  run.step(name, (fs) => act(fs, directory));
}

const SETTINGS = [
  ['an empty file system, one CPU', false, 1],
  ['a used file system, four CPUs', true, 4],
  ['an empty file system, four CPUs', false, 4],
  ['a used file system, one CPU', true, 1],
] as const;

describe.each(long ? SETTINGS : SETTINGS.slice(0, 2))('a power failure in %s', (_, used, cpus) => {
  const run = createRun(used, cpus, {
    seed: 1,
    extremes: long,
    recoveryEvery: long ? 8 : 16,
    deleteEvery: 4,
  });
  afterAll(() => count(run));
  // By turns, when there is little time: each operation in one of the settings.
  const wanted = WORKLOADS.map((workload, n) => [workload.name, workload, n] as const).filter(
    ([, , n]) => long || n % 2 === (used ? 1 : 0),
  );
  it.each(wanted)('leaves "%s" done or not done', { timeout: 600_000 }, (_name, workload, n) => {
    run.reset();
    const before = run.images;
    crash(run, cpus, workload, '/w', n);
    expect(run.images - before).toBeGreaterThanOrEqual(2);
  });
});

describe.each(SETTINGS.slice(0, 2))('a power failure in pairs of operations in %s', (_, used, cpus) => {
  it(`leaves each of those from ${from} to ${to} done or not done`, { timeout: 7_200_000 }, () => {
    const random = new Random(used ? 98 : 99);
    const run = createRun(used, cpus, { seed: 2 + from, recoveryEvery: 24, deleteEvery: 8 });
    for (let n = 0; n <= to; n++) {
      // In one directory or in two: the second works next to what the first left.
      const first = random.pick(WORKLOADS);
      const second = random.pick(WORKLOADS);
      const beside = random.next(2) === 0 ? '/a/b' : '/b';
      if (n < from) continue;
      run.reset();
      crash(run, cpus, first, '/a', n);
      crash(run, cpus, second, beside, n + 1);
    }
    expect(run.images).toBeGreaterThan(2 * (to - from + 1));
    count(run);
  });
});
