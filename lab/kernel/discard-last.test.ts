// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scratchDirectory } from '../testing/scratch.ts';
import { filesBelow } from './changes.ts';
import { discardLast } from './discard-last.ts';

test('what was written just before the end goes, what is older stays', async () => {
  const objects = await scratchDirectory();
  await mkdir(join(objects, 'mm'));
  const secondsBeforeEnd = {
    'mm/old.o': 600,
    'mm/older.o': 3600,
    'mm/half.o': 0,
    'mm/.half.o.cmd': 2,
    vmlinux: 30,
  };
  for (const [name, seconds] of Object.entries(secondsBeforeEnd)) {
    await writeFile(join(objects, name), 'x');
    await utimes(join(objects, name), 1_000_000 - seconds, 1_000_000 - seconds);
  }
  await discardLast(objects);
  expect((await filesBelow(objects)).sort()).toEqual(['mm/old.o', 'mm/older.o']);
});

test('the tree that objects link to keeps everything', async () => {
  const [tree, objects] = [await scratchDirectory(), await scratchDirectory()];
  await writeFile(join(tree, 'Makefile'), 'x');
  await writeFile(join(objects, 'half.o'), 'x');
  await symlink(tree, join(objects, 'source'));
  await discardLast(objects);
  expect(await filesBelow(tree)).toEqual(['Makefile']);
});

test('a build that had not begun leaves nothing to discard', async () => {
  await discardLast(join(await scratchDirectory(), 'none'));
});
