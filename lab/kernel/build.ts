// SPDX-License-Identifier: BSD-3-Clause

import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { artefactKey } from '../cache-directory.ts';
import type { LabConfig } from '../config/schema.ts';
import type { LabContext } from '../context.ts';
import { requireSpace } from '../disk-space.ts';
import { LabError } from '../errors.ts';
import { failedMake } from '../failed-make.ts';
import { withLock } from '../lock.ts';
import { exists, type KernelChanges, kernelConfigDirectory, stageChanges } from './changes.ts';
import { configurationKey, configure } from './config.ts';
import { discardLast } from './discard-last.ts';
import { fragmentsFor } from './fragments.ts';
import { kernelMake } from './make.ts';
import { directoryState } from './not-source.ts';
import { ObjectCount } from './object-count.ts';
import { type KernelSource, obtainSource } from './source.ts';
import { syncWorktree } from './worktree.ts';

/** A built kernel. */
export interface Kernel {
  readonly key: string;
  readonly directory: string;
  /** True when it was in the cache. */
  readonly hit: boolean;
  readonly bzImage: string;
  /** Its full .config. */
  readonly config: string;
  readonly systemMap: string;
  readonly buildLog: string;
  /** What `uname -r` says in the guest. */
  readonly release: string;
  readonly flavour: LabConfig['kernel']['flavour'];
  /** Where its source came from. */
  readonly source: string;
}

/** Objects and what comes of them. */
const buildBytes = 2 ** 30;

/** To be raised when the steps below change what comes out. */
const recipe = '1';

/** The kernel that the settings describe: out of the cache, or built. */
export async function buildKernel(context: LabContext): Promise<Kernel> {
  return await context.step(`Kernel (${context.config.kernel.flavour})`, async (step) => {
    const source = await obtainSource(step);
    await using changes = await stageChanges(source, step);
    const { flavour } = step.config.kernel;
    const fragments = await fragmentsFor(
      kernelConfigDirectory(step.packageRoot).fragments,
      step.config.kernel,
    );
    const compiler = await compilerVersion(step);
    const inputs = [
      recipe,
      flavour,
      source.cached ? source.identity : await directoryState(source.directory),
      changes.identity,
      ...(await contents(fragments)),
      compiler,
    ];
    const { key, directory, hit } = await step.cache.obtain('kernel', inputs, step, (artefact) =>
      buildInto(artefact, { source, changes, fragments, compiler }, step),
    );
    return {
      key,
      directory,
      hit,
      bzImage: join(directory, 'bzImage'),
      config: join(directory, 'config'),
      systemMap: join(directory, 'System.map'),
      buildLog: join(directory, 'build.log'),
      release: (await readFile(join(directory, 'release'), 'utf8')).trim(),
      flavour,
      source: source.description,
    };
  });
}

interface Inputs {
  readonly source: KernelSource;
  readonly changes: KernelChanges;
  readonly fragments: readonly string[];
  readonly compiler: string;
}

/**
 * Build in the work directory of this source: one tree, and one directory of objects a flavour, which live on from build to
 * build, so that a change to one file costs what make needs for that file.
 */
async function buildInto(artefact: string, inputs: Inputs, context: LabContext): Promise<void> {
  const { source, changes, fragments, compiler } = inputs;
  const { flavour } = context.config.kernel;
  const work = join(context.cacheRoot, 'kernel-work', artefactKey('kernel-work', [source.identity]));
  const tree = join(work, 'tree');
  const objects = join(work, `objects-${flavour}`);
  const logFile = join(artefact, 'build.log');
  await mkdir(work, { recursive: true });
  await withLock(`${work}.lock`, 'another kernel build of the same source', context, async () => {
    await requireSpace(work, buildBytes, 'a kernel build');
    await syncWorktree(tree, source, changes, context.runtime, taskOf(context));
    const make = kernelMake({
      ...taskOf(context),
      work,
      tree,
      objects,
      ccache: join(context.cacheRoot, 'ccache'),
      logFile,
      runtime: context.runtime,
    });
    const underWay = join(work, `under-way-${flavour}`);
    if (await exists(underWay)) await discardLast(objects);
    await mkdir(objects, { recursive: true });
    await writeFile(underWay, '');
    context.progress.update('configuring');
    try {
      await configure(make, fragments, await configurationKey(source, changes, fragments, compiler));
      const count = await ObjectCount.begin(join(work, `objects-${flavour}.count`), objects);
      context.progress.update('compiling');
      await make.run(['bzImage'], count.watch(context));
      await count.finished();
    } catch (error) {
      // make came to an end of its own: what it has made is whole.
      if (error instanceof LabError && !context.signal.aborted) await rm(underWay, { force: true });
      throw await failedMake(
        error,
        { what: 'The kernel', logFile, name: 'kernel-build-failed.log' },
        context,
      );
    }
    await rm(underWay, { force: true });
    await copyFile(join(objects, 'arch/x86/boot/bzImage'), join(artefact, 'bzImage'));
    await copyFile(join(objects, '.config'), join(artefact, 'config'));
    await copyFile(join(objects, 'System.map'), join(artefact, 'System.map'));
    await copyFile(join(objects, 'include/config/kernel.release'), join(artefact, 'release'));
  });
}

async function contents(files: readonly string[]): Promise<string[]> {
  return await Promise.all(
    files.map((file) =>
      readFile(file, 'utf8').catch((error: unknown) => {
        throw new LabError(`kernel.fragments: ${file} cannot be read.`, { cause: error });
      }),
    ),
  );
}

/** Which compiler, assembler and linker build it, in their own words. */
async function compilerVersion(context: LabContext): Promise<string> {
  await context.runtime.prepare('kernel-build', context);
  const { stdout } = await context.runtime.run(['gcc', '--version'], {
    ...taskOf(context),
    cwd: context.packageRoot,
    tools: 'kernel-build',
  });
  return stdout.split('\n')[0];
}

function taskOf(context: LabContext): Pick<LabContext, 'signal' | 'progress'> {
  return { signal: context.signal, progress: context.progress };
}
