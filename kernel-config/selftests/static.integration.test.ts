// SPDX-License-Identifier: BSD-3-Clause

import { execFile } from 'node:child_process';
import { copyFile, mkdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { artefactKey } from '../../lab/cache-directory.ts';
import { buildKernel } from '../../lab/kernel/build.ts';
import { stageChanges } from '../../lab/kernel/changes.ts';
import { exportSeries } from '../../lab/kernel/export.ts';
import { kernelMake } from '../../lab/kernel/make.ts';
import { obtainSource } from '../../lab/kernel/source.ts';
import { syncWorktree } from '../../lab/kernel/worktree.ts';
import { withLock } from '../../lab/lock.ts';
import { defaultCacheRoot, packageRoot } from '../../lab/paths.ts';
import { HostRuntime } from '../../lab/runtime/host.ts';
import { type TestLabContext, testLabContext } from '../../lab/testing/lab-context.ts';
import { installForTests } from '../../lab/testing/packages.ts';
import { scratchDirectory } from '../../lab/testing/scratch.ts';

async function hostContext(): Promise<TestLabContext> {
  const stateDir = join(await scratchDirectory(), 'state');
  const runtime = new HostRuntime('test', stateDir);
  onTestFinished(() => runtime[Symbol.asyncDispose]());
  return await testLabContext({ runtime, cacheRoot: defaultCacheRoot(process.env), stateDir });
}

interface Remark {
  readonly severity: string;
  readonly type: string;
  readonly line: string;
}

/** What checkpatch says of a patch: nothing at all, or remarks and their total, and then it ends with 1. */
async function checkpatch(script: string, patch: string): Promise<Remark[]> {
  const args = [script, '--strict', '--no-tree', '--show-types', '--terse', patch];
  const { stdout, code } = await promisify(execFile)('perl', args).then(
    (result) => ({ ...result, code: 0 }),
    (error: { stdout: string; code: number }) => error,
  );
  if (code !== 0 && !/^total: \d+ errors/m.test(stdout))
    throw new Error(`checkpatch did not read ${patch}:\n${stdout}`);
  return [...stdout.matchAll(/^.*?: (ERROR|WARNING|CHECK):(\w+): .*$/gm)].map(([line, severity, type]) => ({
    severity: severity ?? '',
    type: type ?? '',
    line: line.slice(line.indexOf(basename(patch))),
  }));
}

/** Warnings that docs/kernel-review.md explains: the first column of its table. */
async function explained(): Promise<Set<string>> {
  const page = await readFile(join(packageRoot, 'docs/kernel-review.md'), 'utf8');
  return new Set([...page.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, type]) => type ?? ''));
}

test('checkpatch --strict finds no error in the series, and no warning that is not explained', async () => {
  const context = await hostContext();
  const source = await obtainSource(context);
  const series = await exportSeries(join(await scratchDirectory(), 'series'), context);
  const script = join(source.directory, 'scripts/checkpatch.pl');
  const patches = series.files.filter((file) => !basename(file).startsWith('0000-'));
  expect(patches.length).toBeGreaterThan(1);
  const remarks = (await Promise.all(patches.map((patch) => checkpatch(script, patch)))).flat();
  expect(remarks.filter((remark) => remark.severity === 'ERROR').map((remark) => remark.line)).toEqual([]);
  const known = await explained();
  expect(remarks.filter((remark) => !known.has(remark.type)).map((remark) => remark.line)).toEqual([]);
});

/** Ours to be compiled. */
const targets = ['fs/zuf/', 'mm/vm_local_cpu.o'];

/**
 * Compile what is ours once more, with more warnings, in an object directory of its own beside the lab's: objects that are
 * there already would not be warned of.
 */
async function compileOurs(options: readonly string[]): Promise<string> {
  const context = await hostContext();
  const kernel = await buildKernel(context);
  const source = await obtainSource(context);
  await using changes = await stageChanges(source, context);
  const work = join(context.cacheRoot, 'kernel-work', artefactKey('kernel-work', [source.identity]));
  const [tree, objects] = [join(work, 'tree'), join(work, 'objects-check')];
  return await withLock(`${work}.lock`, 'another kernel build', context, async () => {
    await syncWorktree(tree, source, changes, context.runtime, context);
    await rm(join(objects, 'fs/zuf'), { recursive: true, force: true });
    await rm(join(objects, 'mm/vm_local_cpu.o'), { force: true });
    await mkdir(objects, { recursive: true });
    await copyFile(kernel.config, join(objects, '.config'));
    const make = kernelMake({
      ...context,
      work,
      tree,
      objects,
      ccache: join(context.cacheRoot, 'ccache'),
      logFile: join(context.stateDir, 'check.log'),
    });
    await make.run(['olddefconfig']);
    await make.run(['prepare']);
    const { stdout, stderr } = await make.run([...options, ...targets]);
    return `${stdout}\n${stderr}`;
  });
}

describe('compiled with more warnings', () => {
  const warnings = (output: string) => output.split('\n').filter((line) => /\b(warning|error):/.test(line));
  const compiled = (output: string) => output.match(/^\s+CC\s+.*zuf/gm) ?? [];

  test('W=1 has nothing to say', async () => {
    const output = await compileOurs(['W=1']);
    expect(compiled(output).length).toBeGreaterThan(20);
    expect(warnings(output)).toEqual([]);
  });

  test('sparse has nothing to say', async (context) => {
    const missing = await installForTests('sparse');
    if (missing !== undefined) context.skip(missing);
    const output = await compileOurs(['C=2']);
    expect(output.match(/^\s+CHECK\s+.*zuf/gm)?.length).toBeGreaterThan(20);
    expect(warnings(output)).toEqual([]);
  });
});
