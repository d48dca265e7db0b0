// SPDX-License-Identifier: BSD-3-Clause

import { readFile, stat } from 'node:fs/promises';
import { join, matchesGlob } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { LabContext } from '../lab/context.ts';
import { LabError } from '../lab/errors.ts';
import { git } from '../lab/kernel/git.ts';

const areasSchema = z.strictObject({
  areas: z.array(z.strictObject({ files: z.array(z.string()).min(1), groups: z.array(z.string()).min(1) })),
});

export type Areas = z.infer<typeof areasSchema>['areas'];

/** What a change has to do with. */
export interface Touched {
  /** Files that belong to an area. */
  readonly files: readonly string[];
  /** Groups of xfstests. */
  readonly groups: ReadonlySet<string>;
}

/** Kernel files lie below this in the project, and at the top in a kernel tree. */
const kernelTree = 'kernel-config/tree/';

/** The areas that `changed` files belong to. */
export function touchedBy(areas: Areas, changed: readonly string[]): Touched {
  const groups = new Set<string>();
  const files = changed.filter((path) => {
    const name = path.startsWith(kernelTree) ? path.slice(kernelTree.length) : path;
    const hit = areas.filter((area) => area.files.some((pattern) => matchesGlob(name, pattern)));
    for (const group of hit.flatMap((area) => area.groups)) groups.add(group);
    return hit.length > 0;
  });
  return { files, groups };
}

/**
 * What changed since `revision`, committed or not, in this project and in the kernel tree of `kernel.source`, where each is a git
 * tree that knows the revision. `LabError` when there is none, or no change of it belongs to any area.
 */
export async function changedAreas(context: LabContext, revision: string): Promise<Touched> {
  const { packageRoot, config } = context;
  const trees = [packageRoot];
  if ((await stat(config.kernel.source).catch(() => undefined))?.isDirectory())
    trees.push(config.kernel.source);
  const changed: string[] = [];
  let known = false;
  for (const tree of trees) {
    const options = { ...context, cwd: tree };
    const commit = await git(['rev-parse', '--verify', '--quiet', `${revision}^{commit}`], options).catch(
      (error: unknown) => {
        context.signal.throwIfAborted();
        if (error instanceof LabError) return undefined;
        throw error;
      },
    );
    if (commit === undefined) continue;
    known = true;
    const names = await git(['diff', '--name-only', '-z', commit.trim()], options);
    changed.push(...names.split('\0').filter((name) => name !== ''));
  }
  if (!known) throw new LabError(`No tree here has a commit '${revision}'.`);
  const file = join(packageRoot, 'xfstests-runner', 'lists', 'areas.yaml');
  const touched = touchedBy(areasSchema.parse(parse(await readFile(file, 'utf8'))).areas, changed);
  if (touched.files.length === 0) {
    throw new LabError(
      `None of the ${changed.length} files that changed since ${revision} belongs to an area of ${file}.`,
      {
        hint: 'Name tests or a group instead.',
      },
    );
  }
  return touched;
}
