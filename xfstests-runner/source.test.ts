// SPDX-License-Identifier: BSD-3-Clause

import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ExitCode, LabError } from '../lab/errors.ts';
import type { RunOptions, RunResult } from '../lab/runtime/runtime.ts';
import { fakeContext, settings } from '../lab/testing/fake-context.ts';
import { obtainTree } from './source.ts';
import { makeFakeTree } from './testing/fake-tree.ts';
import { BUILT_FILES, SOURCE_FILES } from './tree.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'xfstests-source-'));
});
afterEach(() => rm(root, { recursive: true }));

const sourceFiles = [...SOURCE_FILES, '.git/HEAD'];

function contextFor(
  dir: string,
  run?: (command: readonly string[], options: RunOptions) => Promise<RunResult>,
) {
  return fakeContext(
    root,
    settings((config) => {
      config.xfstests.dir = dir;
    }),
    run,
  );
}

async function failure(promise: Promise<unknown>): Promise<LabError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof LabError)) throw new Error(`expected a LabError, got ${String(error)}`);
  return error;
}

test("the user's built tree is used where it lies", async () => {
  const tree = await makeFakeTree(join(root, 'mine'), [...sourceFiles, ...BUILT_FILES]);
  expect(await obtainTree(contextFor(tree))).toBe(tree);
});

test('without xfstests.dir, the tree in the cache is used', async () => {
  const context = contextFor('');
  const tree = join(context.cache.root, 'xfstests', context.config.xfstests.ref);
  await makeFakeTree(tree, [...sourceFiles, ...BUILT_FILES]);
  expect(await obtainTree(context)).toBe(tree);
});

test('a missing directory: named, with both options, exit code 2', async () => {
  const error = await failure(obtainTree(contextFor(join(root, 'nowhere'))));
  expect(error.message).toContain(join(root, 'nowhere'));
  expect(error.hint).toMatch(/xfstests\.dir.*git\.kernel\.org/s);
  expect(error.exitCode).toBe(ExitCode.labFailed);
});

test('a directory that is something else: says what it lacks', async () => {
  const tree = await makeFakeTree(join(root, 'else'), ['README']);
  const error = await failure(obtainTree(contextFor(tree)));
  expect(error.message).toMatch(/is not an xfstests tree.*check/);
});

test('a tree that is not built is built in a copy, once, and stays as it was', async () => {
  const tree = await makeFakeTree(join(root, 'raw'), sourceFiles);
  const builds: string[] = [];
  const make = async (command: readonly string[], options: RunOptions): Promise<RunResult> => {
    builds.push(command.join(' '));
    await makeFakeTree(options.cwd, BUILT_FILES);
    return { exitCode: 0, stdout: '', stderr: '' };
  };
  const built = await obtainTree(contextFor(tree, make));
  expect(built).not.toBe(tree);
  expect((await stat(join(built, 'ltp/fsstress'))).isFile()).toBe(true);
  expect(await readdir(tree)).not.toContain('ltp');
  expect(await readdir(built)).not.toContain('.git');
  expect(await obtainTree(contextFor(tree, make))).toBe(built);
  expect(builds).toHaveLength(1);
  expect(builds[0]).toMatch(/^make /);
});

test('a build that leaves a helper out is an error that names it, and is not kept', async () => {
  const tree = await makeFakeTree(join(root, 'raw'), sourceFiles);
  const make = async (_command: readonly string[], options: RunOptions): Promise<RunResult> => {
    await makeFakeTree(
      options.cwd,
      BUILT_FILES.filter((file) => file !== 'src/dbtest'),
    );
    return { exitCode: 0, stdout: '', stderr: '' };
  };
  const error = await failure(obtainTree(contextFor(tree, make)));
  expect(error.message).toContain('src/dbtest');
  expect(await readdir(join(root, 'cache', 'xfstests-built')).catch(() => [])).not.toContainEqual(
    expect.stringMatching(/^[0-9a-f]{16,}$/),
  );
});

test('no tree and no upstream: one sentence with both options, exit code 2', async () => {
  const commands: string[] = [];
  const git = async (command: readonly string[]): Promise<RunResult> => {
    commands.push(command.join(' '));
    return { exitCode: 128, stdout: '', stderr: 'fatal: unable to access' };
  };
  const error = await failure(obtainTree(contextFor('', git)));
  expect(commands[0]).toMatch(/^git clone .*--branch v2026\.01\.27 https:\/\/git\.kernel\.org/);
  expect(error.message).toMatch(/no xfstests tree/);
  expect(error.hint).toMatch(/xfstests\.dir.*reachable/s);
  expect(error.exitCode).toBe(ExitCode.labFailed);
});
