// SPDX-License-Identifier: BSD-3-Clause

import { copyFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { artefactKey } from '../../lab/cache-directory.ts';
import { buildKernel, type Kernel } from '../../lab/kernel/build.ts';
import { type KernelChanges, stageChanges } from '../../lab/kernel/changes.ts';
import { type KernelMake, kernelMake } from '../../lab/kernel/make.ts';
import { obtainSource } from '../../lab/kernel/source.ts';
import { syncWorktree } from '../../lab/kernel/worktree.ts';
import { withLock } from '../../lab/lock.ts';
import { defaultCacheRoot } from '../../lab/paths.ts';
import { HostRuntime } from '../../lab/runtime/host.ts';
import { type TestLabContext, testLabContext } from '../../lab/testing/lab-context.ts';
import { scratchDirectory } from '../../lab/testing/scratch.ts';

export async function hostContext(): Promise<TestLabContext> {
  const stateDir = join(await scratchDirectory(), 'state');
  const runtime = new HostRuntime('test', stateDir);
  onTestFinished(() => runtime[Symbol.asyncDispose]());
  return await testLabContext({ runtime, cacheRoot: defaultCacheRoot(process.env), stateDir });
}

/** A kernel tree with the lab's configuration, to compile parts of. */
export interface CompileTree {
  readonly kernel: Kernel;
  readonly make: KernelMake;
  readonly objects: string;
  /** Bring the tree to other changes than ours as they are. */
  sync(changes: Pick<KernelChanges, 'directory' | 'paths'>): Promise<void>;
}

/** Work in a tree and an object directory of this purpose, beside those of the lab's kernel. */
export async function inCompileTree<T>(purpose: string, work: (tree: CompileTree) => Promise<T>): Promise<T> {
  const context = await hostContext();
  const kernel = await buildKernel(context);
  const source = await obtainSource(context);
  await using ours = await stageChanges(source, context);
  const directory = join(context.cacheRoot, 'kernel-work', artefactKey('kernel-work', [source.identity]));
  const [tree, objects] = [join(directory, `tree-${purpose}`), join(directory, `objects-${purpose}`)];
  const make = kernelMake({
    ...context,
    work: directory,
    tree,
    objects,
    ccache: join(context.cacheRoot, 'ccache'),
    logFile: join(context.stateDir, 'compile.log'),
  });
  return await withLock(`${directory}.lock`, 'another kernel build', context, async () => {
    const sync = (changes: Pick<KernelChanges, 'directory' | 'paths'>) =>
      syncWorktree(tree, source, { ...ours, ...changes }, context.runtime, context);
    await sync(ours);
    await mkdir(objects, { recursive: true });
    await copyFile(kernel.config, join(objects, '.config'));
    return await work({ kernel, make, objects, sync });
  });
}

/**
 * Compile what is ours, all of it: objects that are there already would not be warned of. `settings` are lines of the
 * configuration.
 */
export async function compileOurs(
  { make, objects }: CompileTree,
  targets: readonly string[],
  options: readonly string[] = [],
): Promise<string> {
  await rm(join(objects, 'fs/zuf'), { recursive: true, force: true });
  await rm(join(objects, 'mm/vm_local_cpu.o'), { force: true });
  await make.run(['olddefconfig']);
  await make.run(['prepare']);
  const { stdout, stderr } = await make.run([...options, ...targets]);
  return `${stdout}\n${stderr}`;
}
