// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { packageRoot } from '../paths.ts';
import { filesBelow, kernelConfigDirectory } from './changes.ts';
import { arrangeSeries, readSeriesPlan } from './series.ts';

const patch = (name: string, ...paths: string[]) => ({
  name,
  diff: paths.map((path) => `--- a/${path}\n+++ b/${path}\n`).join(''),
});

test('new files come by groups, patches to code in between, patches that hook them up last', async () => {
  const hooks = patch('hooks', 'fs/Kconfig', 'fs/Makefile');
  const mm = patch('mm', 'mm/memory.c', 'mm/Makefile');
  const files = [
    'fs/zuf/super.c',
    'fs/zuf/root.c',
    'include/uapi/linux/zufs_api.h',
    'mm/local.c',
    'fs/zuf/new.c',
  ];
  const steps = arrangeSeries(await readSeriesPlan(), files, [hooks, mm]);
  expect(steps.map((step) => ('patch' in step ? step.patch.name : step.files))).toEqual([
    ['include/uapi/linux/zufs_api.h'],
    ['mm/local.c'],
    'mm',
    ['fs/zuf/root.c'],
    ['fs/zuf/super.c'],
    ['fs/zuf/new.c'],
    'hooks',
  ]);
});

test('a file in a place that nobody foresaw is not lost', async () => {
  const steps = arrangeSeries(await readSeriesPlan(), ['Documentation/filesystems/zufs.rst'], []);
  expect(steps).toMatchObject([{ files: ['Documentation/filesystems/zufs.rst'] }]);
});

test('every file of ours is in the series once', async () => {
  const files = await filesBelow(kernelConfigDirectory(packageRoot).tree);
  const steps = arrangeSeries(await readSeriesPlan(), files, []);
  expect(steps.flatMap((step) => ('files' in step ? step.files : [])).sort()).toEqual(files.sort());
});
