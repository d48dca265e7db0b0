// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { packageRoot } from '../paths.ts';
import { filesBelow, kernelConfigDirectory } from './changes.ts';
import { arrangeSeries, grownMakefile, readSeriesPlan } from './series.ts';

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
    ['mm/local.c'],
    'mm',
    ['include/uapi/linux/zufs_api.h'],
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

test('a Makefile names the objects whose source is there', () => {
  const whole =
    'obj-$(CONFIG_ZUFS_FS) += zuf.o\nCFLAGS_b.o := -I.\nzuf-y := a.o b.o\nzuf-y += c.o d.o\n# end\n';
  const grown = (...present: string[]) => grownMakefile(whole, (source) => present.includes(source));
  expect(grown('a.c', 'b.c', 'c.c', 'd.c')).toBe(whole);
  expect(grown('a.c')).toBe('obj-$(CONFIG_ZUFS_FS) += zuf.o\nzuf-y := a.o\n# end\n');
  expect(grown('b.c', 'd.c')).toBe(
    'obj-$(CONFIG_ZUFS_FS) += zuf.o\nCFLAGS_b.o := -I.\nzuf-y := b.o\nzuf-y += d.o\n# end\n',
  );
});
