// SPDX-License-Identifier: BSD-3-Clause

import { execFile } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { defaultCacheRoot } from '../paths.ts';
import { HostRuntime } from '../runtime/host.ts';
import { testLabContext } from '../testing/lab-context.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { stageChanges } from './changes.ts';
import { exportSeries } from './export.ts';
import { obtainSource } from './source.ts';
import { applySeries } from './testing/apply-series.ts';
import { makeToyKernel } from './testing/toy-kernel.ts';

async function hostContext(options: { scratch: string; cacheRoot: string; set?: string[] }) {
  const runtime = new HostRuntime('test', join(options.scratch, 'state'));
  onTestFinished(() => runtime[Symbol.asyncDispose]());
  return await testLabContext({ ...options, runtime, stateDir: join(options.scratch, 'state', 'test') });
}

test('our series, applied with git am to Debian’s kernel, gives the very files that the build uses', async () => {
  const scratch = await scratchDirectory();
  const context = await hostContext({ scratch, cacheRoot: defaultCacheRoot(process.env) });
  const source = await obtainSource(context);
  const series = await exportSeries(join(scratch, 'series'), context);
  await using changes = await stageChanges(source, context);
  expect(changes.paths.length).toBeGreaterThan(10);
  expect(await applySeries(series, source, changes)).toEqual([]);
});

test('a kernel as a tarball is unpacked into the cache; what is no tarball, or holds no kernel, is refused', async () => {
  const scratch = await scratchDirectory();
  await makeToyKernel(join(scratch, 'linux-6.12.7'));
  const tar = (...args: string[]) => promisify(execFile)('tar', args, { cwd: scratch });
  await tar('--create', '--xz', '--file', 'linux.tar.xz', 'linux-6.12.7');
  await tar('--create', '--file', 'other.tar', 'linux-6.12.7/fs');
  await writeFile(join(scratch, 'text.tar'), 'no tarball');
  const cacheRoot = join(scratch, 'cache');
  const obtain = async (name: string) =>
    await obtainSource(
      await hostContext({ scratch, cacheRoot, set: [`kernel.source=${join(scratch, name)}`] }),
    );
  expect(await obtain('linux.tar.xz')).toMatchObject({ version: '6.12.7', cached: true });
  await expect(obtain('text.tar')).rejects.toThrow('text.tar cannot be unpacked with tar.');
  await expect(obtain('other.tar')).rejects.toThrow('is no Linux kernel tree: it has no Makefile.');
  expect((await readdir(join(cacheRoot, 'kernel-source'))).length).toBe(1);
});
