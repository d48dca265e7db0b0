// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readdir, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { listCache, removeEntry } from './cache-clean.ts';
import { ArtefactDirectory } from './cache-directory.ts';
import { quietContext } from './runtime/testing/context.ts';
import { runCli } from './testing/cli.ts';
import { scratchDirectory } from './testing/scratch.ts';

/** A cache with an old artefact and a new one, and a tree of the user's. */
async function filledCache() {
  const home = await scratchDirectory();
  const root = join(home, 'zufs-lab');
  const cache = new ArtefactDirectory(root);
  const build = (directory: string) => writeFile(join(directory, 'file'), Buffer.alloc(100_000));
  const old = await cache.obtain('kernel', ['old'], quietContext(), build);
  const recent = await cache.obtain('image', ['recent'], quietContext(), build);
  const longAgo = new Date(Date.now() - 20 * 24 * 3600 * 1000);
  await utimes(old.directory, longAgo, longAgo);
  await mkdir(join(root, 'xfstests', 'v1'), { recursive: true });
  const run = (...args: string[]) =>
    runCli(['cache', ...args], { env: { ...process.env, XDG_CACHE_HOME: home, XDG_STATE_HOME: home } });
  return { root, cache, build, old, recent, run };
}

test('artefacts are listed with their size, the longest unused first; what the user put there is not', async () => {
  const { root, old, recent } = await filledCache();
  const entries = await listCache(root);
  expect(entries.map(({ kind, key }) => [kind, key])).toEqual([
    ['kernel', old.key],
    ['image', recent.key],
  ]);
  for (const entry of entries) expect(entry.bytes).toBeGreaterThanOrEqual(100_000);
});

test('an artefact that another process builds right now is not removed', async () => {
  const { root, cache, old } = await filledCache();
  const [entry] = await listCache(root);
  await cache.obtain('kernel', ['other'], quietContext(), async () => {
    // The lock of `entry` itself is what a build of it would hold.
    await mkdir(`${old.directory}.lock`);
    expect(await removeEntry(entry)).toBe(false);
  });
  expect((await stat(old.directory)).isDirectory()).toBe(true);
});

test('clean removes what is unused, --dry-run nothing, --all every artefact and no tree of the user', async () => {
  const { root, cache, build, old, recent, run } = await filledCache();
  const wouldGo = await run('clean', '--dry-run', '--json');
  expect(JSON.parse(wouldGo.stdout.toString()).map((entry: { key: string }) => entry.key)).toEqual([old.key]);
  expect(await readdir(join(root, 'kernel'))).toEqual([old.key]);

  expect((await run('clean')).code).toBe(0);
  expect(await readdir(join(root, 'kernel'))).toEqual([]);
  expect(await readdir(join(root, 'image'))).toEqual([recent.key]);
  expect((await cache.obtain('kernel', ['old'], quietContext(), build)).hit).toBe(false);

  expect((await run('clean', '--all')).code).toBe(0);
  expect(await readdir(join(root, 'image'))).toEqual([]);
  expect(await readdir(join(root, 'xfstests'))).toEqual(['v1']);
  expect((await run('clean', '--unused-for', 'x')).stderr).toMatch(/A number of days/);
});
