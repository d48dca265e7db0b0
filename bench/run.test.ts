// SPDX-License-Identifier: BSD-3-Clause

import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { quietContext } from '../lab/runtime/testing/context.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { QemuEndedError } from '../lab/vm/failure.ts';
import { readMatrix } from './declared.ts';
import { Journal, readRun, writePlan } from './journal.ts';
import { planMatrix } from './plan.ts';
import { Progress, runMachine } from './run.ts';
import type { Matrix, ServerSettings } from './schema.ts';
import { noFacts } from './testing/facts.ts';
import { FakeGuest } from './testing/fake-guest.ts';

type Part = Matrix['parts'][number];

/** A run of a matrix of the test's own, on a guest that is played. */
async function benchOf(part: Pick<Part, 'filesystems' | 'workloads' | 'threads'>, rounds = 1) {
  const base = await readMatrix('short');
  const matrix: Matrix = { ...base.matrix, rounds, parts: [{ machine: {}, ...part }] };
  const [plan] = planMatrix({ ...base, matrix });
  const directory = await scratchDirectory();
  const guest = new FakeGuest();
  const settings: ServerSettings[] = [];
  const abort = new AbortController();
  const context = quietContext(abort.signal);
  const start = async (progress: Progress) => {
    const timing = { warmUp: 0.1, seconds: 1, cpus: [0, 1] };
    const server = { ensure: async (asked: ServerSettings) => void settings.push(asked) };
    const devices = ['/dev/pmem0', '/dev/pmem1'];
    await runMachine({ plan, rounds, timing, vm: guest, devices, server }, progress, context);
  };
  const total = plan.cells.length * rounds;
  const journal = new Journal(directory);
  return { base, matrix, directory, guest, settings, abort, context, start, total, journal };
}

test('each round visits every file system, and begins with another one', async () => {
  const bench = await benchOf(
    { filesystems: ['ext4-dax', 'tmpfs', 'xfs-dax'], workloads: ['randwrite-4k', 'create'], threads: [1, 2] },
    3,
  );
  const progress = new Progress(bench.journal, bench.total, []);
  await bench.start(progress);
  const order = progress.samples.map(({ round, fs }) => `${round} ${fs}`);
  expect([...new Set(order)]).toEqual([
    '1 ext4-dax',
    '1 tmpfs',
    '1 xfs-dax',
    '2 tmpfs',
    '2 xfs-dax',
    '2 ext4-dax',
    '3 xfs-dax',
    '3 ext4-dax',
    '3 tmpfs',
  ]);
  expect(progress.samples).toHaveLength(36);
  expect(bench.guest.commands.filter((line) => line.startsWith('mkfs'))).toHaveLength(6);
});

test('threads are bound to CPUs, data is laid out once for all that want it so, and direct I/O only where it is said', async () => {
  const bench = await benchOf({
    filesystems: ['ext4-dax', 'fuse-ll-best'],
    workloads: ['randwrite-4k', 'randread-4k', 'create-shared'],
    threads: [2],
  });
  await bench.start(new Progress(bench.journal, bench.total, []));
  const { measurements, commands } = bench.guest;
  expect(measurements).toHaveLength(6);
  for (const line of measurements) expect(line).toMatch(/--cpus_allowed=0,1 |-c 0,1$/);
  expect(measurements[0]).toMatch(
    /--size=33554432 --numjobs=2 .*--direct=0 .*--ramp_time=100ms --runtime=1000ms/,
  );
  expect(measurements[2]).toMatch(/-o create -d \/mnt\/bench\/create-shared-2 -t 2 -n 256 -s -w 100 -r 1000/);
  expect(measurements[3]).toContain('--direct=1');
  expect(commands.filter((line) => line.includes('--name=write'))).toHaveLength(2);
});

test("FUSE's program runs over ext4 with DAX, pinned to the caller's CPU where that is asked, and goes before what is below it", async () => {
  const bench = await benchOf({
    filesystems: ['fuse-hp-pinned', 'fuse-ll-best'],
    workloads: ['create'],
    threads: [1, 2],
  });
  await bench.start(new Progress(bench.journal, bench.total, []));
  const { commands, measurements } = bench.guest;
  // A server on one CPU is no use to two threads.
  expect(measurements).toHaveLength(3);
  expect(commands).toContain('mount -t ext4 -o dax=always /dev/pmem0 /mnt/bench-base');
  expect(commands).toContain(
    'taskset --cpu-list 0 /opt/zufs-bench/passthrough_hp --single /mnt/bench-base /mnt/bench',
  );
  const umounts = commands.filter((line) => line.startsWith('umount'));
  expect(umounts).toEqual([
    'umount /mnt/bench',
    'umount /mnt/bench-base',
    'umount /mnt/bench',
    'umount /mnt/bench-base',
  ]);
});

test("a server's file system gets its settings, all devices, and its operations are counted", async () => {
  const bench = await benchOf({
    filesystems: ['zpmfs-copies-shared-tlb'],
    workloads: ['randwrite-4k', 'noop'],
    threads: [1],
  });
  const progress = new Progress(bench.journal, bench.total, []);
  await bench.start(progress);
  expect(bench.settings).toEqual([{ extentCache: false, channels: 1, localCpu: false }]);
  expect(bench.guest.commands).toContain('mkfs.zpmfs -f --device=/dev/pmem1 /dev/pmem0');
  expect(bench.guest.commands).toContain('tee /sys/kernel/debug/zuf/operations');
  expect(progress.samples[0]).toMatchObject({
    opsPerSec: 1000,
    latencyUs: { mean: 50, p50: 48, p99: 90, p999: 200 },
    served: [
      { operation: 'WRITE', count: 1000, queuedNs: 1000, switchNs: 14000, serverNs: 9000, backNs: 16000 },
      { operation: 'GET_MULTY', count: 3 },
    ],
  });
});

test('a measurement that fails is told, and the others go on', async () => {
  const bench = await benchOf({
    filesystems: ['tmpfs', 'xfs-dax', 'ext4-dax'],
    workloads: ['randwrite-4k', 'create'],
    threads: [1],
  });
  bench.guest.onCommand = (line) => {
    if (line.startsWith('mkfs.xfs')) return { exitCode: 1, stderr: 'too small' };
    if (line.includes('zufs-bench-names')) return { stdout: 'Killed' };
    return undefined;
  };
  const progress = new Progress(bench.journal, bench.total, []);
  await bench.start(progress);
  expect(progress.samples.map(({ fs, workload }) => `${fs} ${workload}`)).toEqual([
    'tmpfs randwrite-4k',
    'ext4-dax randwrite-4k',
  ]);
  expect(progress.failures.map(({ fs, workload }) => `${fs} ${workload}`)).toEqual([
    'tmpfs create',
    'xfs-dax randwrite-4k',
    'xfs-dax create',
    'ext4-dax create',
  ]);
  expect(progress.failures[1].error).toContain('too small');
  expect(bench.context.notes).toHaveLength(4);
});

test('a run that a lost VM ended goes on where it was, and tries again what failed', async () => {
  const bench = await benchOf(
    { filesystems: ['ext4-dax', 'tmpfs'], workloads: ['create'], threads: [1, 2] },
    2,
  );
  const { guest, directory, matrix, base } = bench;
  await writePlan(directory, {
    run: noFacts,
    matrix,
    fileSystems: [...base.fileSystems.values()],
    workloads: [...base.workloads.values()],
  });
  let left = 5;
  guest.onCommand = (line) => {
    if (!line.includes('zufs-bench-names')) return undefined;
    left -= 1;
    if (left === 3) return { exitCode: 1 };
    if (left === 0) throw new QemuEndedError('QEMU has ended.', { consoleTail: '', consoleLog: '' });
    return undefined;
  };
  await expect(bench.start(new Progress(bench.journal, bench.total, []))).rejects.toThrow('QEMU has ended');
  // As a run that was killed in the middle of a line leaves it.
  await appendFile(join(directory, 'journal.jsonl'), '{"fs":"ext4-d');

  const { samples } = await readRun(directory);
  expect(samples).toHaveLength(3);
  guest.onCommand = () => undefined;
  guest.commands.length = 0;
  const resumed = new Progress(bench.journal, bench.total, samples);
  await bench.start(resumed);
  expect(guest.measurements).toHaveLength(5);
  const cells = resumed.samples.map(({ fs, threads, round }) => `${fs} ${threads} ${round}`);
  expect(new Set(cells).size).toBe(8);
});

test('an interrupt ends it there and then', async () => {
  const bench = await benchOf({ filesystems: ['ext4-dax'], workloads: ['create'], threads: [1, 2] });
  bench.guest.onCommand = (line) => {
    if (line.includes('zufs-bench-names')) bench.abort.abort(new Error('interrupted'));
    return undefined;
  };
  const progress = new Progress(bench.journal, bench.total, []);
  await expect(bench.start(progress)).rejects.toThrow('interrupted');
  expect(bench.guest.measurements).toHaveLength(1);
  expect(progress.failures).toEqual([]);
});
