// SPDX-License-Identifier: BSD-3-Clause

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { quietContext } from '../runtime/testing/context.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { bisect } from './bisect.ts';

/** A tree whose file counts up, a commit a number; `state` is what each commit has beside it. */
async function countingTree(states: readonly string[]) {
  const tree = await scratchDirectory();
  const git = (...args: string[]) =>
    execa('git', ['-c', 'user.name=T', '-c', 'user.email=t@example.org', ...args], { cwd: tree });
  await git('init', '--quiet');
  const commits: string[] = [];
  for (const [number, state] of states.entries()) {
    await writeFile(join(tree, 'number'), `${number}\n`);
    await writeFile(join(tree, 'state'), `${state}\n`);
    await git('add', '.');
    await git('commit', '--quiet', '-m', `number ${number}`);
    commits.push((await git('rev-parse', 'HEAD')).stdout);
  }
  return { tree, commits, git };
}

const judge = ['sh', '-c', 'case $(cat state) in good) exit 0;; bad) exit 1;; *) exit 2;; esac'];

async function search(states: readonly string[], command: readonly string[] = judge) {
  const { tree, commits, git } = await countingTree(states);
  const worktree = join(await scratchDirectory(), 'tree');
  const found = bisect({ tree, worktree, good: commits[0], bad: 'HEAD', judge: command }, quietContext());
  return { tree, commits, git, found };
}

const good = (count: number) => Array<string>(count).fill('good');
const bad = (count: number) => Array<string>(count).fill('bad');

test('the first bad commit is found, and the tree is as it was', async () => {
  const { commits, git, found } = await search([...good(6), ...bad(5)]);
  expect(await found).toMatchObject({ firstBad: commits[6], subject: 'number 6' });
  expect((await git('status', '--porcelain')).stdout).toBe('');
  expect((await git('rev-parse', 'HEAD')).stdout).toBe(commits.at(-1));
  expect((await git('worktree', 'list')).stdout.split('\n')).toHaveLength(1);
  expect((await git('for-each-ref', 'refs/bisect')).stdout).toBe('');
});

test('a commit that cannot be judged is skipped', async () => {
  const { commits, found } = await search([...good(4), 'broken', ...bad(1), ...bad(3)]);
  const result = await found;
  // 4 may be the culprit as well as 5: it cannot be told.
  expect(result.firstBad).toBeUndefined();
  expect(result.conclusion).toContain(commits[4]);
  expect(result.conclusion).toContain(commits[5]);
});

test.each([
  ['the good end is bad', bad(4), /is bad: there is nothing to search for/],
  ['the bad end is good', good(4), /HEAD is good: there is nothing to search for/],
  ['an end cannot be judged', ['broken', ...bad(3)], /cannot be judged \(exit code 2\)/],
])('refused: %s', async (_what, states, message) => {
  const { git, found } = await search(states);
  await expect(found).rejects.toThrow(message);
  expect((await git('worktree', 'list')).stdout.split('\n')).toHaveLength(1);
});

test('a commit that is not there, and a directory that is no tree', async () => {
  const { tree } = await countingTree(['good']);
  const options = {
    tree,
    worktree: join(await scratchDirectory(), 'tree'),
    good: 'nonesuch',
    bad: 'HEAD',
    judge,
  };
  await expect(bisect(options, quietContext())).rejects.toThrow(/has no commit 'nonesuch'/);
  const empty = await scratchDirectory();
  await expect(bisect({ ...options, tree: empty }, quietContext())).rejects.toThrow(/no commit 'nonesuch'/);
});
