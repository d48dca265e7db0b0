// SPDX-License-Identifier: BSD-3-Clause

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { fakeContext, settings } from '../lab/testing/fake-context.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { changedAreas, touchedBy } from './changed.ts';

const areas = [
  { files: ['fs/zuf/xattr.c', 'server/fs/zpmfs/xattr.ts'], groups: ['attr', 'acl'] },
  { files: ['fs/ext4/**'], groups: ['quick'] },
];

test('a changed file adds the groups of its areas, wherever its tree lies', () => {
  const touched = touchedBy(areas, ['kernel-config/tree/fs/zuf/xattr.c', 'README.md', 'fs/ext4/sub/inode.c']);
  expect(touched.files).toEqual(['kernel-config/tree/fs/zuf/xattr.c', 'fs/ext4/sub/inode.c']);
  expect([...touched.groups]).toEqual(['attr', 'acl', 'quick']);
  expect(touchedBy(areas, ['README.md']).groups.size).toBe(0);
});

test('changes since a revision of a kernel tree, committed or not', async () => {
  const tree = await scratchDirectory();
  const git = (...args: string[]) =>
    execa('git', ['-c', 'user.name=T', '-c', 'user.email=t@example.org', ...args], { cwd: tree });
  await git('init', '--quiet');
  await execa('mkdir', ['-p', 'fs/ext4', 'mm'], { cwd: tree });
  for (const file of ['fs/ext4/inode.c', 'mm/filemap.c', 'Makefile']) await writeFile(join(tree, file), '\n');
  await git('add', '.');
  await git('commit', '--quiet', '-m', 'base');
  await git('tag', 'a-base-of-this-tree-alone');
  const context = fakeContext(
    await scratchDirectory(),
    settings((config) => {
      config.kernel.source = tree;
    }),
  );
  await writeFile(join(tree, 'Makefile'), 'changed\n');
  await expect(changedAreas(context, 'a-base-of-this-tree-alone')).rejects.toThrow(/None of the 1 files/);
  await writeFile(join(tree, 'mm/filemap.c'), 'changed\n');
  await git('commit', '--quiet', '-am', 'rw');
  await writeFile(join(tree, 'fs/ext4/inode.c'), 'changed\n');
  const touched = await changedAreas(context, 'a-base-of-this-tree-alone');
  expect([...touched.groups].sort()).toEqual(['aio', 'io_uring', 'quick', 'rw']);
  await expect(changedAreas(context, 'nonesuch')).rejects.toThrow(/No tree here has a commit 'nonesuch'/);
});
