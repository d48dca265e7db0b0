// SPDX-License-Identifier: BSD-3-Clause

import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageRoot } from '../lab/paths.ts';
import { TestLabs } from '../lab/testing/test-lab.ts';
import { type BenchReport, benchReportSchema } from './report/results.ts';

// The smoke matrix in VMs of its own: that all of it runs, from the programs' build to the page. No figure is judged.

let labs: TestLabs;
beforeAll(async () => {
  labs = await TestLabs.create();
  await labs.build();
});
afterAll(() => labs[Symbol.asyncDispose]());

const directoryOf = (report: BenchReport) => join(packageRoot, 'build', 'bench', report.run.id);

async function smoke(...more: string[]): Promise<BenchReport> {
  const printed = JSON.parse(await labs.must('--json', 'bench', ...more)) as BenchReport;
  // The distributions are in the file alone.
  return benchReportSchema.parse({
    ...printed,
    results: printed.results.map((result) => ({ ...result, latencies: [] })),
  });
}

function expectWhole(report: BenchReport): void {
  expect(report).toMatchObject({ failures: [], incomplete: false });
  const cells = report.results.map(({ fs, workload, threads }) => `${fs} ${workload} ${threads}`);
  expect(cells.toSorted()).toEqual(
    ['ext4-dax', 'fuse-ll-best', 'zpmfs-copies'].flatMap((fs) =>
      ['create', 'small-randwrite-4k'].flatMap((workload) =>
        [1, 2].map((threads) => `${fs} ${workload} ${threads}`),
      ),
    ),
  );
  for (const { opsPerSec, latencyUs } of report.results) {
    expect(opsPerSec).toBeGreaterThan(0);
    expect(latencyUs.mean).toBeGreaterThan(0);
    expect(latencyUs.p999).toBeGreaterThanOrEqual(latencyUs.p50);
  }
}

test('the smoke matrix: every point has figures, the run names what it was made with, and nothing is left running', async () => {
  const report = await smoke('--matrix', 'smoke');
  expectWhole(report);
  const { run, split, ratios } = report;
  for (const fact of [
    'kernel',
    'image',
    'server',
    'cpu',
    'accelerator',
    'qemu',
    'guestKernel',
    'clock',
  ] as const) {
    expect(run[fact]).not.toBe('');
  }
  expect(Object.keys(run.options)).toEqual(['ext4-dax', 'zpmfs-copies', 'fuse-ll-best']);
  // The server copied: each write came to it.
  const written = report.results.filter(
    ({ fs, workload }) => `${fs} ${workload}` === 'zpmfs-copies small-randwrite-4k',
  );
  for (const { served, opsPerSec } of written) {
    const count = served.find(({ operation }) => operation === 'WRITE')?.count ?? 0;
    expect(count).toBeGreaterThan(opsPerSec * run.sampleSeconds * 0.9);
  }
  expect(split.map(({ threads }) => threads)).toEqual([1, 2]);
  expect(ratios).toHaveLength(2);
  const files = await readdir(directoryOf(report));
  for (const name of ['index.html', 'summary.md', 'bench.json', 'split.svg']) expect(files).toContain(name);
  expect(labs.runningPrograms()).toEqual([]);
});

test('Ctrl-C ends the VM and leaves a report of what was measured; --resume measures the rest', async () => {
  const cli = labs.start('bench', '--matrix', 'smoke');
  await cli.says(/\b[1-9]\d* of 12\)/);
  cli.process.kill('SIGINT');
  const { code, stderr } = await cli.end();
  expect(stderr).toMatch(/What was measured is in (\S+);.*--resume/);
  expect(code).toBe(130);
  expect(labs.runningPrograms()).toEqual([]);
  const [, directory] = /What was measured is in (\S+);/.exec(stderr) ?? [];
  await access(join(directory, 'index.html'));
  const resumed = await smoke('--resume', directory);
  expect(directoryOf(resumed)).toBe(directory);
  expectWhole(resumed);
});
