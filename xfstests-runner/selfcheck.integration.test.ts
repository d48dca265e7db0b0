// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageRoot } from '../lab/paths.ts';
import type { RunReport } from './verdict.ts';

// The runner's own tests in a VM of their own, on ext4 with DAX, which needs no server: what a test does that passes, fails,
// does not apply, hangs, or takes the guest with it, and what the command makes of it.

const zufsLab = join(packageRoot, 'lab', 'bin', 'zufs-lab.js');
const lab = ['--name', 'xfstests-selfcheck'];

async function run(...tests: string[]): Promise<{ readonly exitCode: number; readonly report: RunReport }> {
  const command = [
    ...lab,
    '--json',
    'xfstests',
    '--fs',
    'ext4-dax',
    '--timeout',
    '30',
    '--tests',
    tests.join(),
  ];
  const result = await execa(process.execPath, [zufsLab, ...command], { reject: false });
  if (result.stdout === '') throw new Error(`no report: ${result.stderr}`);
  return { exitCode: result.exitCode ?? -1, report: JSON.parse(result.stdout) as RunReport };
}

function statuses(report: RunReport): Record<string, string> {
  return Object.fromEntries(report.tests.map(({ name, status }) => [name, status]));
}

beforeAll(async () => {
  await execa(process.execPath, [zufsLab, ...lab, 'up', '--no-server']);
});
afterAll(async () => {
  await execa(process.execPath, [zufsLab, ...lab, 'down']);
});

test('a test that passes: exit 0', async () => {
  const { exitCode, report } = await run('runner/001');
  expect(statuses(report)).toEqual({ 'runner/001': 'passed' });
  expect(exitCode).toBe(0);
});

test('only a test that does not apply: nothing ran, exit 2', async () => {
  const { exitCode, report } = await run('runner/003');
  expect(statuses(report)).toEqual({ 'runner/003': 'notrun' });
  expect(exitCode).toBe(2);
});

test('failures of each kind and a hang, none of which stops the rest: exit 1', async () => {
  const { exitCode, report } = await run(
    'runner/001',
    'runner/002',
    'runner/003',
    'runner/004',
    'runner/006',
  );
  expect(statuses(report)).toEqual({
    'runner/001': 'passed',
    'runner/002': 'failed',
    'runner/003': 'notrun',
    'runner/004': 'hung',
    'runner/006': 'failed',
  });
  expect(report.tests.find(({ name }) => name === 'runner/002')?.reason).toContain('not the expected one');
  expect(exitCode).toBe(1);
});

test('a test that panics the guest: marked crashed, the rest runs in a new VM, exit 1', async () => {
  const { exitCode, report } = await run('runner/001', 'runner/005', 'runner/006');
  expect(statuses(report)).toEqual({
    'runner/001': 'passed',
    'runner/005': 'crashed',
    'runner/006': 'failed',
  });
  expect(report.tests.find(({ name }) => name === 'runner/005')?.reason).toContain('panic');
  expect(exitCode).toBe(1);
});
