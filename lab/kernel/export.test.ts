// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { HostRuntime } from '../runtime/host.ts';
import { testLabContext } from '../testing/lab-context.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { stageChanges } from './changes.ts';
import { exportSeries } from './export.ts';
import { obtainSource } from './source.ts';
import { applySeries } from './testing/apply-series.ts';
import { makeToyChanges } from './testing/our-changes.ts';
import { makeToyKernel } from './testing/toy-kernel.ts';

async function toyContext() {
  const scratch = await scratchDirectory();
  const kernel = join(scratch, 'linux');
  await makeToyKernel(kernel, { carriesZuf: false });
  await makeToyChanges(join(scratch, 'package'));
  const runtime = new HostRuntime('test', join(scratch, 'state'));
  onTestFinished(() => runtime[Symbol.asyncDispose]());
  const context = await testLabContext({
    runtime,
    cacheRoot: join(scratch, 'cache'),
    stateDir: join(scratch, 'state', 'test'),
    packageRoot: join(scratch, 'package'),
    set: [`kernel.source=${kernel}`],
  });
  return { scratch, context };
}

test('the series, applied with git am, gives the very files that the build uses', async () => {
  const { scratch, context } = await toyContext();
  const series = await exportSeries(join(scratch, 'series'), context);
  const source = await obtainSource(context);
  await using changes = await stageChanges(source, context);
  expect(changes.paths).toEqual([
    'fs/Kconfig',
    'fs/zuf/Makefile',
    'fs/zuf/main.c',
    'include/uapi/linux/zufs_api.h',
    'other.c',
    'toy.c',
  ]);
  expect(await applySeries(series, source, changes)).toEqual([]);
});

test('it is in the order of a review, with a cover letter, and keeps the authors of patches', async () => {
  const { scratch, context } = await toyContext();
  const { files, base } = await exportSeries(join(scratch, 'series'), context);
  expect(base).toBe('6.12.7');
  expect(files.map((file) => basename(file))).toEqual([
    '0000-cover-letter.patch',
    '0001-mm-toy-return-two.patch',
    '0002-toy-returns-three.patch',
    expect.stringMatching(/^0003-zuf-configuration/),
    '0004-zuf-root-server-threads-and-dispatch.patch',
    '0005-hook.patch',
  ]);
  const cover = await readFile(files[0], 'utf8');
  expect(cover).toContain('zero-copy file system in user space');
  expect(cover).toContain('Measured by');
  expect(cover).not.toContain('SPDX');
  expect(cover).not.toContain('***');
  const first = await readFile(files[1], 'utf8');
  expect(first).toContain('From: A Developer <a@example.org>');
  expect(first).toContain('Why it is done.');
});

test('a directory that holds something is not written to', async () => {
  const { scratch, context } = await toyContext();
  await mkdir(join(scratch, 'full'));
  await writeFile(join(scratch, 'full', 'mine'), '');
  await expect(exportSeries(join(scratch, 'full'), context)).rejects.toThrow('is not empty');
});

test('a tree that carries the series gets the patches of its owner alone', async () => {
  const { scratch, context } = await toyContext();
  await makeToyKernel(join(scratch, 'linux'));
  await using changes = await stageChanges(await obtainSource(context), context);
  expect(changes.paths).toEqual([]);
  expect(context.recorded.notes.join()).toContain('carries zuf already');
});
