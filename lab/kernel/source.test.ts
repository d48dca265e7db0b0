// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { parseOsRelease } from '../os-release.ts';
import { HostRuntime } from '../runtime/host.ts';
import { quietContext } from '../runtime/testing/context.ts';
import { testLabContext } from '../testing/lab-context.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { filesBelow } from './changes.ts';
import { git } from './git.ts';
import { obtainSource, upstreamOf } from './source.ts';
import { makeToyKernel } from './testing/toy-kernel.ts';

/** A repository with the toy kernel at tag v6.12.7, and a commit after it. */
async function repository() {
  const scratch = await scratchDirectory();
  const linux = join(scratch, 'linux');
  await makeToyKernel(linux);
  const run = (...args: string[]) =>
    git(['-c', 'user.name=T', '-c', 'user.email=t@example.org', '-C', linux, ...args], {
      ...quietContext(),
      cwd: linux,
    });
  await run('init', '--quiet', '--initial-branch=main');
  await run('add', '--all');
  await run('commit', '--quiet', '--no-gpg-sign', '-m', 'toy');
  await run('tag', '--annotate', '--no-sign', '-m', 'release', 'v6.12.7');
  await run('rm', '--quiet', 'other.c');
  await run('commit', '--quiet', '--no-gpg-sign', '-m', 'less');
  return { scratch, linux, run };
}

async function obtain(source: string, scratch: string) {
  const runtime = new HostRuntime('test', join(scratch, 'state'));
  onTestFinished(() => runtime[Symbol.asyncDispose]());
  return await obtainSource(
    await testLabContext({
      runtime,
      cacheRoot: join(scratch, 'cache'),
      stateDir: join(scratch, 'state'),
      set: [`kernel.source=${source}`],
    }),
  );
}

test('a git URL with a tag: that tag’s tree, in the cache, with no history', async () => {
  const { scratch, linux, run } = await repository();
  const source = await obtain(`file://${linux}#v6.12.7`, scratch);
  expect(source).toMatchObject({ version: '6.12.7', cached: true });
  const files = await filesBelow(source.directory);
  expect(files).toContain('other.c');
  expect(files.filter((file) => file.startsWith('.git'))).toEqual([]);
  const commit = (await run('rev-parse', 'v6.12.7^{commit}')).trim();
  expect(source.description).toBe(`file://${linux} at ${commit.slice(0, 12)}`);
});

test('a git URL with a branch follows it; with a commit it stays', async () => {
  const { scratch, linux, run } = await repository();
  const head = (await run('rev-parse', 'HEAD')).trim();
  const branch = await obtain(`file://${linux}#main`, scratch);
  expect(await filesBelow(branch.directory)).not.toContain('other.c');
  expect((await obtain(`file://${linux}#${head}`, scratch)).identity).toBe(branch.identity);
  await run('commit', '--quiet', '--no-gpg-sign', '--allow-empty', '-m', 'more');
  expect((await obtain(`file://${linux}#main`, scratch)).identity).not.toBe(branch.identity);
});

test('a ref or a repository that is not there is told as such', async () => {
  const { scratch, linux } = await repository();
  await expect(obtain(`file://${linux}#v9`, scratch)).rejects.toThrow(`file://${linux} has no ref v9.`);
  await expect(obtain(`file://${scratch}/none#v9`, scratch)).rejects.toThrow('cannot be reached with git.');
});

test('a repository that holds no kernel is refused, and not kept', async () => {
  const { scratch, linux, run } = await repository();
  await run('rm', '--quiet', 'Kconfig');
  await run('commit', '--quiet', '--no-gpg-sign', '-m', 'no kernel');
  await expect(obtain(`file://${linux}#main`, scratch)).rejects.toThrow(
    'is no Linux kernel tree: it has no Kconfig.',
  );
  expect(await filesBelow(join(scratch, 'cache'))).toEqual([]);
});

test('a directory is used where it is', async () => {
  const { scratch, linux } = await repository();
  expect(await obtain(linux, scratch)).toEqual({
    identity: linux,
    directory: linux,
    cached: false,
    version: '6.12.7',
    description: linux,
  });
});

test('on Ubuntu, which has no linux-source-6.12, the kernel comes from the stable tree; on Debian never', () => {
  expect(upstreamOf('6.12', parseOsRelease('ID=ubuntu\nID_LIKE=debian\n'))).toMatch(
    /^https:\/\/git\.kernel\.org\/.*\/stable\/linux\.git#v6\.12\.\d+$/,
  );
  expect(upstreamOf('6.12', parseOsRelease('ID=linuxmint\nID_LIKE="ubuntu debian"\n'))).toBeDefined();
  expect(upstreamOf('6.12', parseOsRelease('ID=debian\n'))).toBeUndefined();
  // A version that nobody has tried is left to apt, which says that it has none.
  expect(upstreamOf('6.99', parseOsRelease('ID=ubuntu\n'))).toBeUndefined();
});
