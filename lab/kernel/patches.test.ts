// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { quietContext } from '../runtime/testing/context.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { applyPatch, changedPaths, readPatches } from './patches.ts';

const lines = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => `line ${from + index}\n`).join('');

const diff = `diff --git a/mm/memory.c b/mm/memory.c
--- a/mm/memory.c
+++ b/mm/memory.c
@@ -9,3 +9,3 @@
 line 9
-line 10
+line ten
 line 11
`;

const mail = (
  number: number,
  subject: string,
  body: string,
) => `From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001
From: A Developer <a@example.org>
Date: Mon, 1 Jan 2024 00:00:00 +0000
Subject: [PATCH ${number}/2] ${subject}
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: quoted-printable

Why it is done.

---
 mm/memory.c | 2 +-
${body.replaceAll('=', '=3D')}--=20
2.39.5

`;

async function tree(): Promise<string> {
  const directory = await scratchDirectory();
  await mkdir(join(directory, 'mm'));
  await writeFile(join(directory, 'mm', 'memory.c'), lines(1, 20));
  return directory;
}

async function patchFile(name: string, text: string): Promise<string> {
  const file = join(await scratchDirectory(), name);
  await writeFile(file, text);
  return file;
}

test('a patch is applied, lines further down too', async () => {
  const directory = await tree();
  await writeFile(join(directory, 'mm', 'memory.c'), `new first line\n${lines(1, 20)}`);
  await applyPatch({ name: 'x', diff }, directory, quietContext());
  expect(await readFile(join(directory, 'mm', 'memory.c'), 'utf8')).toContain('line 9\nline ten\nline 11\n');
});

test('a patch that does not apply is named with the hunk that was rejected', async () => {
  const directory = await tree();
  await writeFile(join(directory, 'mm', 'memory.c'), lines(1, 20).replace('line 10', 'changed'));
  const applied = applyPatch({ name: '/home/me/fix.patch', diff }, directory, quietContext());
  await expect(applied).rejects.toThrow(
    'The patch /home/me/fix.patch does not apply: rejected in mm/memory.c:\n@@ -9,3 +9,3 @@\n line 9\n-line 10\n+line ten\n line 11',
  );
});

test('a patch to a file that is not there says so', async () => {
  const applied = applyPatch({ name: 'fix.patch', diff }, await scratchDirectory(), quietContext());
  await expect(applied).rejects.toThrow('The patch fix.patch does not apply: mm/memory.c does not exist.');
});

test('a mailbox is taken apart and decoded; each patch goes by its subject', async () => {
  const withEquals = diff.replace('+line ten', '+line = ten');
  const second = diff.replace('line 10', 'line = ten').replace('+line ten', '+line 10');
  const file = await patchFile('series.mbox', mail(1, 'mm: one', withEquals) + mail(2, 'mm: two', second));
  const patches = await readPatches(file, quietContext());
  expect(patches.map((patch) => patch.name)).toEqual([`${file} ("mm: one")`, `${file} ("mm: two")`]);
  const directory = await tree();
  for (const patch of patches) await applyPatch(patch, directory, quietContext());
  expect(await readFile(join(directory, 'mm', 'memory.c'), 'utf8')).toBe(lines(1, 20));
});

test('a directory is read in the order of names, without the cover letter', async () => {
  const directory = await scratchDirectory();
  await writeFile(join(directory, '0000-cover-letter.patch'), 'words\n');
  await writeFile(join(directory, '0002-b.patch'), diff);
  await writeFile(join(directory, '0001-a.patch'), diff);
  await writeFile(join(directory, 'README'), 'words\n');
  const patches = await readPatches(directory, quietContext());
  expect(patches.map((patch) => patch.name)).toEqual(
    ['0001-a.patch', '0002-b.patch'].map((name) => join(directory, name)),
  );
});

test('what is no patch is refused by name', async () => {
  await expect(readPatches('/nonexistent.patch', quietContext())).rejects.toThrow(
    '/nonexistent.patch does not exist.',
  );
  const text = await patchFile('notes.patch', 'just words\n');
  await expect(readPatches(text, quietContext())).rejects.toThrow(`${text} holds no patch.`);
  const empty = await scratchDirectory();
  await expect(readPatches(empty, quietContext())).rejects.toThrow(
    `the directory ${empty} holds no *.patch files.`,
  );
});

test('paths of additions, deletions, renames and plain diffs are seen, and none outside of the tree', () => {
  const text = `diff --git a/old/name.c b/new/name.c
rename from old/name.c
rename to new/name.c
--- /dev/null
+++ b/added.c
--- a/removed.c\t2024-01-01 00:00:00
+++ /dev/null
--- a/../../etc/passwd
`;
  expect(changedPaths({ name: 'x', diff: text })).toEqual([
    'old/name.c',
    'new/name.c',
    'added.c',
    'removed.c',
  ]);
});
