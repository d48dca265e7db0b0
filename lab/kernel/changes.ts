// SPDX-License-Identifier: BSD-3-Clause

import { access, cp, mkdir, readdir } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { LabContext } from '../context.ts';
import { LabError } from '../errors.ts';
import { hashFiles } from '../hash-files.ts';
import { makeWorkDirectory } from '../work-directory.ts';
import { applyPatch, changedPaths, type Patch, readPatches, shortName } from './patches.ts';
import type { KernelSource } from './source.ts';

/** Everything that is put on top of a kernel source, worked out beside it. */
export interface KernelChanges extends AsyncDisposable {
  /** Holds the changed files as they shall be, at their kernel paths. */
  readonly directory: string;
  /** Every path that something touches, whether it is there afterwards or deleted. */
  readonly paths: readonly string[];
  /** Hash of the outcome. */
  readonly identity: string;
}

/** Our files and patches, by kernel version. */
export interface KernelConfigDirectory {
  readonly tree: string;
  readonly fragments: string;
  /** The patches that suit `version`; undefined when there are none for it. */
  patchesFor(version: string): Promise<string | undefined>;
}

export function kernelConfigDirectory(packageRoot: string): KernelConfigDirectory {
  const root = join(packageRoot, 'kernel-config');
  return {
    tree: join(root, 'tree'),
    fragments: join(root, 'fragments'),
    patchesFor: async (version) => {
      const directory = join(root, 'patches', version.split('.').slice(0, 2).join('.'));
      const names = await readdir(directory).catch((): string[] => []);
      return names.some((name) => name.endsWith('.patch')) ? directory : undefined;
    },
  };
}

/** A tree that has this file has had our series applied to it by its owner. */
const seriesMark = 'fs/zuf/Makefile';

/**
 * The changes for `source`: our files, our patches, then the user's, in a fresh directory that holds only what they touch.
 * A tree that carries our series already gets the user's patches alone.
 */
export async function stageChanges(source: KernelSource, context: LabContext): Promise<KernelChanges> {
  const work = await makeWorkDirectory(context.cacheRoot, 'kernel-changes');
  const directory = work.path;
  try {
    const paths = new Set<string>();
    const patches: Patch[] = [];
    if (await exists(join(source.directory, seriesMark))) {
      context.progress.note(
        `${source.description} carries zuf already: only kernel.patches are applied to it.`,
      );
    } else {
      const ours = kernelConfigDirectory(context.packageRoot);
      const ourPatches = await ours.patchesFor(source.version);
      if (ourPatches === undefined) {
        throw new LabError(`There are no patches for Linux ${source.version} (${source.description}).`, {
          hint: 'Set kernel.source to a 6.12 kernel, or to a tree that has the exported series applied.',
        });
      }
      await cp(ours.tree, directory, { recursive: true });
      for (const path of await filesBelow(ours.tree)) paths.add(path);
      patches.push(...(await readPatches(ourPatches, context)));
    }
    for (const path of context.config.kernel.patches) patches.push(...(await readPatches(path, context)));
    for (const patch of patches) await stagePatch(patch, source, directory, paths, context);
    return {
      directory,
      paths: [...paths].sort(),
      identity: await hashFiles([directory]),
      [Symbol.asyncDispose]: () => work[Symbol.asyncDispose](),
    };
  } catch (error) {
    await work[Symbol.asyncDispose]();
    throw error;
  }
}

async function stagePatch(
  patch: Patch,
  source: KernelSource,
  directory: string,
  paths: Set<string>,
  context: LabContext,
): Promise<void> {
  context.progress.update(`patch ${shortName(patch)}`);
  for (const path of changedPaths(patch)) {
    if (paths.has(path)) continue;
    paths.add(path);
    const original = join(source.directory, path);
    if (!(await exists(original))) continue;
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await cp(original, join(directory, path));
  }
  await applyPatch(patch, directory, context);
}

/** Files of a tree, relative to it. */
export async function filesBelow(tree: string): Promise<string[]> {
  const entries = await readdir(tree, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(tree, join(entry.parentPath, entry.name)));
}

export async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
