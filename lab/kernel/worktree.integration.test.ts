// SPDX-License-Identifier: BSD-3-Clause

import { chmod, cp, mkdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { hashFiles } from '../hash-files.ts';
import { HostRuntime } from '../runtime/host.ts';
import { quietContext } from '../runtime/testing/context.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { filesBelow, type KernelChanges } from './changes.ts';
import { directoryState, isNotSource } from './not-source.ts';
import { syncWorktree } from './worktree.ts';

let cache: string;
let source: string;
let tree: string;
let runtime: HostRuntime;

beforeEach(async () => {
  cache = await scratchDirectory();
  source = join(cache, 'kernel-source', 'one');
  tree = join(cache, 'kernel-work', 'one', 'tree');
  runtime = new HostRuntime('test', join(cache, 'state'));
  onTestFinished(() => runtime[Symbol.asyncDispose]());
  await write(source, { 'mm/memory.c': 'original', 'mm/mmap.c': 'original', 'scripts/run.sh': 'original' });
  await chmod(join(source, 'scripts/run.sh'), 0o755);
  for (const file of await filesBelow(source)) await utimes(join(source, file), 1000, 1000);
});

async function write(directory: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(directory, name, '..'), { recursive: true });
    await writeFile(join(directory, name), text);
  }
}

async function changes(
  files: Readonly<Record<string, string>>,
  deleted: readonly string[] = [],
): Promise<KernelChanges> {
  const directory = await scratchDirectory();
  await write(directory, files);
  return {
    directory,
    paths: [...Object.keys(files), ...deleted],
    identity: 'unused',
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function sync(with_: KernelChanges, options: { cached: boolean }): Promise<void> {
  const from = { ...options, directory: source, identity: source, version: '6.12.0', description: source };
  await syncWorktree(tree, from, with_, runtime, quietContext());
}

/** Content of every file of the tree. */
async function contents(): Promise<Record<string, string>> {
  const files = (await filesBelow(tree)).sort();
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [file, await readFile(join(tree, file), 'utf8')])),
  );
}

const mtime = async (file: string) => (await stat(join(tree, file))).mtimeMs;

const original = { 'mm/memory.c': 'original', 'mm/mmap.c': 'original', 'scripts/run.sh': 'original' };

test.each([{ cached: true }, { cached: false }])(
  'the tree is the source with the changes: %j',
  async (options) => {
    const before = await hashFiles([source]);
    await sync(await changes({ 'mm/memory.c': 'patched', 'fs/zuf/main.c': 'new' }, ['mm/mmap.c']), options);
    expect(await contents()).toEqual({
      'mm/memory.c': 'patched',
      'fs/zuf/main.c': 'new',
      'scripts/run.sh': 'original',
    });
    expect((await stat(join(tree, 'scripts/run.sh'))).mode & 0o777).toBe(0o755);
    expect(await hashFiles([source])).toBe(before);
  },
);

test.each([{ cached: true }, { cached: false }])(
  'only what differs gets a new time of change: %j',
  async (options) => {
    await sync(
      await changes({ 'mm/memory.c': 'patched', 'fs/zuf/main.c': 'new', 'fs/zuf/dir.c': 'new' }),
      options,
    );
    const old = await Promise.all(['mm/memory.c', 'mm/mmap.c', 'fs/zuf/main.c', 'fs/zuf/dir.c'].map(mtime));
    await sync(
      await changes({ 'mm/memory.c': 'patched', 'fs/zuf/main.c': 'newer', 'fs/zuf/dir.c': 'new' }),
      options,
    );
    const now = await Promise.all(['mm/memory.c', 'mm/mmap.c', 'fs/zuf/main.c', 'fs/zuf/dir.c'].map(mtime));
    expect(now.map((time, index) => time === old[index])).toEqual([true, true, false, true]);
  },
);

test.each([{ cached: true }, { cached: false }])(
  'a change taken back brings the source’s file back, as changed now: %j',
  async (options) => {
    await sync(await changes({ 'mm/memory.c': 'patched', 'fs/zuf/main.c': 'new' }, ['mm/mmap.c']), options);
    const then = await mtime('mm/memory.c');
    await sync(await changes({}), options);
    expect(await contents()).toEqual(original);
    expect(await mtime('mm/memory.c')).toBeGreaterThanOrEqual(then);
  },
);

test('what its owner changes in a directory is taken over, what building left in it is not', async () => {
  await sync(await changes({ 'mm/memory.c': 'patched' }), { cached: false });
  await write(source, { 'mm/mmap.c': 'edited', 'mm/new.c': 'added', 'mm/new.o': 'object', '.config': 'x' });
  await rm(join(source, 'scripts'), { recursive: true });
  await sync(await changes({ 'mm/memory.c': 'patched' }), { cached: false });
  expect(await contents()).toEqual({ 'mm/memory.c': 'patched', 'mm/mmap.c': 'edited', 'mm/new.c': 'added' });
});

test('a cached source takes no second copy of its files', async () => {
  await sync(await changes({ 'mm/memory.c': 'patched' }), { cached: true });
  expect((await stat(join(tree, 'mm/mmap.c'))).ino).toBe((await stat(join(source, 'mm/mmap.c'))).ino);
  expect((await stat(join(tree, 'mm/memory.c'))).ino).not.toBe((await stat(join(source, 'mm/memory.c'))).ino);
});

test('a tree whose record was cut off is made anew', async () => {
  await sync(await changes({ 'mm/memory.c': 'patched' }), { cached: true });
  await writeFile(`${tree}.json`, '{"identity":');
  await sync(await changes({}), { cached: true });
  expect(await contents()).toEqual(original);
});

test('the state of a directory changes with its source files, not with what building leaves', async () => {
  const before = await directoryState(source);
  await write(source, {
    'mm/memory.o': 'object',
    '.git/HEAD': 'ref',
    'include/generated/x.h': 'x',
    '.config': 'y',
  });
  expect(await directoryState(source)).toBe(before);
  await write(source, { 'mm/memory.c': 'edited' });
  expect(await directoryState(source)).not.toBe(before);
});

test('rsync and the lab agree on what is not source', async () => {
  const names = [
    '.config',
    '.config.old',
    'fs/.config',
    'fs/Kconfig',
    'arch/x86/include/generated/a.h',
    'mm/.memory.o.cmd',
  ];
  names.push(
    'include/config/auto.conf',
    'include/linux/config/x.h',
    'vmlinux',
    'arch/x86/boot/vmlinux',
    'a.mod.c',
    '.gitignore',
  );
  const from = await scratchDirectory();
  await write(from, Object.fromEntries(names.map((name) => [name, ''])));
  await cp(from, join(cache, 'copy'), { recursive: true });
  source = join(cache, 'copy');
  await sync(await changes({}), { cached: false });
  const kept = names.filter(
    (name) => !name.split('/').some((_, index, parts) => isNotSource(parts.slice(0, index + 1).join('/'))),
  );
  expect((await filesBelow(tree)).sort()).toEqual(kept.sort());
  expect(kept).toEqual(
    expect.arrayContaining(['fs/.config', 'fs/Kconfig', 'include/linux/config/x.h', 'arch/x86/boot/vmlinux']),
  );
});
