// SPDX-License-Identifier: BSD-3-Clause

import { cp, readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { CommandFailedError, LabError } from '../lab/errors.ts';
import { failedMake } from '../lab/failed-make.ts';
import { inspectTree, type TreeState } from './tree.ts';

/** Where xfstests lives upstream; the lab fetches one tag of it when the user has no tree. */
export const UPSTREAM = 'https://git.kernel.org/pub/scm/fs/xfs/xfstests-dev.git';

/** Nobody named a tree, none lies in the cache, and upstream cannot be reached: there is no xfstests to run. */
export class NoTreeError extends LabError {}

/** What the user can do when no tree is to be had: named in every error of this file. */
function options(context: LabContext): string {
  const place = join(context.cache.root, 'xfstests', context.config.xfstests.ref);
  return `Set xfstests.dir to an xfstests tree (built or not; or put one at ${place}), or make ${UPSTREAM} reachable.`;
}

/**
 * A built xfstests tree: the user's (`xfstests.dir`), else `<cache>/xfstests/<ref>`, else upstream at `xfstests.ref`.
 * A tree that is not built is built in a copy that the cache keeps; the tree itself is never written to. `NoTreeError` when
 * there is none of the three.
 */
export async function obtainTree(context: LabContext): Promise<string> {
  const { dir, ref } = context.config.xfstests;
  if (dir !== '') return builtTree(resolve(dir), named(dir), context);
  const cached = join(context.cache.root, 'xfstests', ref);
  if ((await inspectTree(cached)).kind !== 'missing') return builtTree(cached, cached, context);
  return upstreamTree(context);
}

/** Refuse a directory of the settings that is no xfstests tree, built or not: before the long work, in a moment. */
export async function requireNamedTree(context: LabContext): Promise<void> {
  const { dir } = context.config.xfstests;
  if (dir !== '') await inspected(resolve(dir), named(dir), context);
}

function named(dir: string): string {
  return `xfstests.dir (${dir})`;
}

async function inspected(
  directory: string,
  called: string,
  context: LabContext,
): Promise<Extract<TreeState, { kind: 'built' | 'unbuilt' }>> {
  const state = await inspectTree(directory);
  switch (state.kind) {
    case 'missing':
      throw new LabError(`${called} is not there.`, { hint: options(context) });
    case 'foreign':
      throw new LabError(`${called} is not an xfstests tree: it has no ${state.lacks}.`, {
        hint: options(context),
      });
    default:
      return state;
  }
}

async function builtTree(directory: string, called: string, context: LabContext): Promise<string> {
  const state = await inspected(directory, called, context);
  switch (state.kind) {
    case 'built':
      return directory;
    case 'unbuilt': {
      const entries = (await readdir(directory)).filter((name) => name !== '.git').sort();
      const hash = await context.cache.hashFiles(entries.map((name) => join(directory, name)));
      const artefact = await context.cache.obtain('xfstests-built', [hash], context, async (copy) => {
        context.progress.note(`${called} is not built (no ${state.lacks}): building a copy of it`);
        for (const name of entries) {
          await cp(join(directory, name), join(copy, name), { recursive: true, verbatimSymlinks: true });
        }
        await build(copy, context);
      });
      return artefact.directory;
    }
  }
}

async function upstreamTree(context: LabContext): Promise<string> {
  const { ref } = context.config.xfstests;
  const artefact = await context.cache.obtain('xfstests-upstream', [UPSTREAM, ref], context, async (copy) => {
    context.progress.update(`fetching xfstests ${ref}`);
    await context.runtime.prepare('xfstests-build', context);
    const clone = ['git', 'clone', '--quiet', '--depth', '1', '--branch', ref, UPSTREAM, copy];
    const fetched = await context.runtime.run(clone, {
      signal: context.signal,
      progress: context.progress,
      cwd: copy,
      mounts: [{ path: copy, writable: true }],
      tools: 'xfstests-build',
      // No question for a password when a proxy answers in upstream's place.
      env: { GIT_TERMINAL_PROMPT: '0' },
      reject: false,
    });
    if (fetched.exitCode !== 0) {
      throw new NoTreeError(`There is no xfstests tree, and ${ref} of ${UPSTREAM} cannot be fetched.`, {
        hint: options(context),
        cause: new CommandFailedError('git clone failed.', {
          command: clone,
          exitCode: fetched.exitCode,
          outputTail: fetched.stderr.split('\n').slice(-5).join('\n'),
        }),
      });
    }
    await build(copy, context);
  });
  return artefact.directory;
}

/** Run the tree's own build; what it left out (for want of a library) is an error that names the file. */
async function build(copy: string, context: LabContext): Promise<void> {
  context.progress.update('building xfstests');
  await context.runtime.prepare('xfstests-build', context);
  const logFile = join(copy, 'build.log');
  try {
    await context.runtime.run(['make', `-j${Math.min(availableParallelism(), 8)}`], {
      signal: context.signal,
      progress: context.progress,
      cwd: copy,
      mounts: [{ path: copy, writable: true }],
      tools: 'xfstests-build',
      logFile,
    });
  } catch (error) {
    throw await failedMake(error, { what: 'xfstests', logFile, name: 'xfstests-build-failed.log' }, context);
  }
  const state = await inspectTree(copy);
  if (state.kind !== 'built') {
    const lacks = 'lacks' in state ? state.lacks : copy;
    throw new LabError(`xfstests was built without an error, but ${lacks} did not come of it.`, {
      hint: 'A development package is missing; xfstests.dir takes a tree built elsewhere.',
    });
  }
}
