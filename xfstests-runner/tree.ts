// SPDX-License-Identifier: BSD-3-Clause

import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** What a directory that should be an xfstests tree turned out to be. */
export type TreeState =
  | { readonly kind: 'missing' }
  | { readonly kind: 'foreign'; readonly lacks: string }
  | { readonly kind: 'unbuilt'; readonly lacks: string }
  | { readonly kind: 'built' };

/** Files that every xfstests tree has, built or not. */
export const SOURCE_FILES = ['check', 'common/rc', 'common/config', 'common/preamble', 'tests/generic/001'];

/** One product of each part of the build; dbtest is the one that goes missing when gdbm's headers do. */
export const BUILT_FILES = [
  'ltp/fsstress',
  'ltp/fsx',
  'src/lstat64',
  'src/dbtest',
  'src/seek_sanity_test',
  'src/aio-dio-regress/aiocp',
  'src/vfs/vfstest',
  'tests/generic/group.list',
];

/** Look at `directory` without changing anything in it. */
export async function inspectTree(directory: string): Promise<TreeState> {
  const found = await stat(directory).catch(() => undefined);
  if (!found?.isDirectory()) return { kind: 'missing' };
  for (const file of SOURCE_FILES) {
    if (!(await readable(join(directory, file)))) return { kind: 'foreign', lacks: file };
  }
  for (const file of BUILT_FILES) {
    if (!(await readable(join(directory, file)))) return { kind: 'unbuilt', lacks: file };
  }
  return { kind: 'built' };
}

async function readable(path: string): Promise<boolean> {
  return access(path, constants.R_OK).then(
    () => true,
    () => false,
  );
}

/**
 * Tests of one directory below `tests/` with the groups of each, from the `group.list` that the build writes:
 * a line `001 auto quick` is test 001 in two groups.
 */
export async function readGroups(
  tree: string,
  directory: string,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const text = await readFile(join(tree, 'tests', directory, 'group.list'), 'utf8');
  const tests = new Map<string, readonly string[]>();
  for (const line of text.split('\n')) {
    const words = line
      .replace(/#.*/, '')
      .split(/\s+/)
      .filter((word) => word !== '');
    const [name, ...groups] = words;
    if (name !== undefined) tests.set(`${directory}/${name}`, groups);
  }
  return tests;
}
