// SPDX-License-Identifier: BSD-3-Clause

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunReport } from '../lab/test-run/verdict.ts';
import { TestLabs } from '../lab/testing/test-lab.ts';

// A part of the workloads in their short form, as a user calls them. All of them, and longer, is for the night.

let labs: TestLabs;
beforeAll(async () => {
  labs = await TestLabs.create();
  await labs.build();
});
afterAll(() => labs[Symbol.asyncDispose]());

test('SQLite survives the loss of its VM, fio reads what it wrote; exit 0, and no VM stays', async () => {
  const { code, stdout, stderr } = await labs.run('workloads', '--short', '--only', 'sqlite,fio', '--json');
  if (stdout.length === 0) throw new Error(stderr);
  const report = JSON.parse(stdout.toString()) as RunReport;
  expect(report.tests.map(({ name, status, reason }) => [name, status, reason])).toEqual([
    ['sqlite', 'passed', ''],
    ['fio', 'passed', ''],
  ]);
  expect([report.suite, report.verdict, code]).toEqual(['workloads', 'passed', 0]);
  // The VM that was killed, and the one that was booted over its memory.
  expect(stderr.match(/Guest ready/g)).toHaveLength(2);
  expect(labs.runningPrograms()).toEqual([]);
}, 1_200_000);

test('Ctrl-C in the middle of one: exit 130, and no VM stays', async () => {
  const cli = labs.start('workloads', '--only', 'fio', '--time', '10m');
  await cli.says(/Mount/);
  cli.process.kill('SIGINT');
  expect((await cli.end()).code).toBe(130);
  expect(labs.runningPrograms()).toEqual([]);
}, 600_000);
