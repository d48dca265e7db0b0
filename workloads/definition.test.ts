// SPDX-License-Identifier: BSD-3-Clause

import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageNames } from '../lab/image/packages.ts';
import { packageRoot } from '../lab/paths.ts';
import { limitOf, readWorkloads, secondsOf, selectWorkloads, workloadsDirectory } from './definition.ts';

test('every declared workload has its program, a way to be checked, and an end', async () => {
  const all = await readWorkloads(packageRoot);
  expect(all.map(({ name }) => name)).toEqual([
    'git',
    'kernel-build',
    'sqlite',
    'postgresql',
    'fio',
    'dbench',
    'stress-ng',
    'fsx',
  ]);
  for (const { program, seconds = 0, limit } of all) {
    await access(join(workloadsDirectory(packageRoot), 'programs', program));
    expect(limit).toBeGreaterThan(seconds);
  }
  expect(all.filter(({ crash }) => crash).map(({ name }) => name)).toEqual(['sqlite', 'postgresql']);
});

test('--only takes some, in the order of the file; a name that is none is named with those there are', async () => {
  const all = await readWorkloads(packageRoot);
  expect(selectWorkloads(all, ['fsx', 'git']).map(({ name }) => name)).toEqual(['git', 'fsx']);
  expect(selectWorkloads(all, [])).toHaveLength(all.length);
  expect(() => selectWorkloads(all, ['gti'])).toThrow(/no workload 'gti'/);
});

test('a time of the user’s replaces that of those that know no end, and moves what counts as a hang', async () => {
  const all = await readWorkloads(packageRoot);
  const [git, fsx] = selectWorkloads(all, ['git', 'fsx']);
  expect(secondsOf(fsx, { short: false })).toBe(1800);
  expect(secondsOf(fsx, { short: true })).toBe(15);
  expect(secondsOf(fsx, { short: true, time: 7200 })).toBe(7200);
  expect(secondsOf(git, { short: false, time: 60 })).toBe(0);
  expect(limitOf(fsx, { short: false, time: 7200 })).toBe(fsx.limit + 5400);
  expect(limitOf(fsx, { short: true })).toBe(fsx.limit);
});

test('the packages of their image are Debian’s, each with what it is there for', async () => {
  expect(await packageNames(join(workloadsDirectory(packageRoot), 'packages.yaml'))).toContain('postgresql');
});
