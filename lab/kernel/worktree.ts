// SPDX-License-Identifier: BSD-3-Clause

import { chmod, copyFile, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { requireSpace } from '../disk-space.ts';
import type { RunOptions, Runtime } from '../runtime/runtime.ts';
import { exists, type KernelChanges } from './changes.ts';
import { notSource } from './not-source.ts';
import type { KernelSource } from './source.ts';

/** A writable copy of a directory, or links to a tree in the cache, and its objects. */
const copyBytes = 3 * 2 ** 30;

/** Which source a work tree was made from, and where it departs from it. */
interface Manifest {
  readonly identity: string;
  readonly changed: readonly string[];
}

/**
 * Bring the tree at `tree` to `source` with `changes` on top. Files whose content stays the same keep their time of change, so
 * that make rebuilds only what depends on the others. The source itself is not written to.
 */
export async function syncWorktree(
  tree: string,
  source: KernelSource,
  changes: KernelChanges,
  runtime: Runtime,
  task: Pick<RunOptions, 'signal' | 'progress'>,
): Promise<void> {
  const manifestFile = `${tree}.json`;
  let before = await readManifest(manifestFile);
  if (before?.identity !== source.identity || !(await exists(tree))) {
    await requireSpace(dirname(tree), copyBytes, 'a kernel build');
    await rm(manifestFile, { force: true });
    await rm(tree, { recursive: true, force: true });
    task.progress.update('copying the kernel tree');
    await copyTree(source, tree, [], runtime, task);
    before = { identity: source.identity, changed: [] };
  } else if (!source.cached) {
    task.progress.update('taking over what changed in the kernel tree');
    // Not what changes touch, or did: these are brought below, with a time of change that make takes notice of.
    await copyTree(source, tree, [...before.changed, ...changes.paths], runtime, task);
  }
  // Interrupted from here on, the next time has to look at both.
  const touched = [...new Set([...before.changed, ...changes.paths])];
  await writeManifest(manifestFile, { identity: source.identity, changed: touched });
  for (const path of touched) {
    const wanted = changes.paths.includes(path) ? changes.directory : source.directory;
    await bring(join(tree, path), join(wanted, path));
  }
  await writeManifest(manifestFile, { identity: source.identity, changed: changes.paths });
}

/** A tree of the cache never changes: hard links do, and what is changed later is replaced, not written to. */
async function copyTree(
  source: KernelSource,
  tree: string,
  except: readonly string[],
  runtime: Runtime,
  task: Pick<RunOptions, 'signal' | 'progress'>,
): Promise<void> {
  await mkdir(tree, { recursive: true });
  const work = dirname(tree);
  const how = source.cached ? [`--link-dest=${source.directory}`] : excludes(except);
  await runtime.prepare('kernel-build', task);
  await runtime.run(
    [
      'rsync',
      '--archive',
      '--no-owner',
      '--no-group',
      '--delete',
      ...how,
      `${source.directory}/`,
      `${tree}/`,
    ],
    {
      ...task,
      cwd: work,
      // Links do not reach across two mounts of a container, so both lie in one, the cache.
      mounts: source.cached
        ? [{ path: dirname(dirname(source.directory)), writable: true }]
        : [{ path: source.directory, writable: false }],
      tools: 'kernel-build',
    },
  );
}

function excludes(paths: readonly string[]): string[] {
  return [
    ...notSource.map((pattern) => `--exclude=${pattern}`),
    ...paths.map((path) => `--exclude=/${path}`),
  ];
}

/** Make `target` like `wanted`: absent, or with its content and mode. Left alone when it is that already. */
async function bring(target: string, wanted: string): Promise<void> {
  if (!(await exists(wanted))) {
    await rm(target, { force: true });
    return;
  }
  const { mode } = await stat(wanted);
  const same = (await exists(target)) && (await readFile(target)).equals(await readFile(wanted));
  if (same && ((await stat(target)).mode & 0o111) === (mode & 0o111)) return;
  await mkdir(dirname(target), { recursive: true });
  // Never written in place: it may be a link to the source's own file.
  const temporary = `${target}.zufs-lab-new`;
  await rm(temporary, { force: true });
  // A copy also where the source's file comes back: its own time of change is long past, so make would see nothing new.
  await copyFile(wanted, temporary);
  await chmod(temporary, mode);
  await rename(temporary, target);
}

async function readManifest(file: string): Promise<Manifest | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Manifest;
  } catch {
    // None, or one that was cut off: the tree is made anew.
    return undefined;
  }
}

async function writeManifest(file: string, manifest: Manifest): Promise<void> {
  await writeFile(`${file}.new`, `${JSON.stringify(manifest)}\n`);
  await rename(`${file}.new`, file);
}
