// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execa } from 'execa';
import { LabError } from '../errors.ts';
import type { TaskContext } from '../runtime/runtime.ts';
import { git } from './git.ts';

export interface BisectOptions {
  /** A git tree; it is not touched: the search has a worktree of its own. */
  readonly tree: string;
  readonly good: string;
  readonly bad: string;
  /** Where the worktree goes while the search lasts. */
  readonly worktree: string;
  /** Exit code 0: good; 1: bad; 2: cannot be told, this commit is skipped. Runs in the worktree. */
  readonly judge: readonly string[];
}

export interface BisectResult {
  /** Hash of the commit that brought the change; undefined when skipped commits leave several in question. */
  readonly firstBad: string | undefined;
  readonly subject: string;
  /** What git said last, with the commits in question when there are several. */
  readonly conclusion: string;
}

/** The judge's 2 as git's word for a commit that cannot be tested; anything above 127 ends the search. */
const judged = '"$@"; code=$?; [ $code -eq 2 ] && exit 125; exit $code';

/**
 * Search for the first bad commit with `git bisect run`. Both ends are judged first: a search between ends that are not what they
 * are said to be finds some commit all the same.
 */
export async function bisect(options: BisectOptions, context: TaskContext): Promise<BisectResult> {
  const { tree, worktree, good, bad, judge } = options;
  const goodCommit = await commitOf(tree, good);
  const badCommit = await commitOf(tree, bad);
  await mkdir(dirname(worktree), { recursive: true });
  // Of a search that was killed.
  await removeWorktree(tree, worktree);
  const inTree = { ...context, cwd: tree };
  const inWorktree = { ...context, cwd: worktree };
  await git(['worktree', 'add', '--quiet', '--detach', worktree, goodCommit], inTree);
  try {
    await requireVerdict(options, good, 0, context);
    await git(['checkout', '--quiet', '--detach', badCommit], inWorktree);
    await requireVerdict(options, bad, 1, context);
    await git(['bisect', 'start', badCommit, goodCommit], inWorktree);
    const ran = await run(['git', 'bisect', 'run', 'sh', '-c', judged, 'judge', ...judge], worktree, context);
    const conclusion = ran.output.trim().split('\n').slice(-20).join('\n');
    // 2: only skipped commits are left.
    if (ran.exitCode !== 0 && !/only 'skip'ped commits left/.test(ran.output)) {
      throw new LabError(`git bisect ended without a result: ${conclusion.split('\n').at(-1)}`);
    }
    if (ran.exitCode !== 0) return { firstBad: undefined, subject: '', conclusion };
    const firstBad = (await git(['rev-parse', 'refs/bisect/bad'], inWorktree)).trim();
    const subject = (await git(['show', '--no-patch', '--format=%s', firstBad], inWorktree)).trim();
    return { firstBad, subject, conclusion };
  } finally {
    await removeWorktree(tree, worktree);
  }
}

async function commitOf(tree: string, revision: string): Promise<string> {
  const parsed = await execa('git', ['rev-parse', '--verify', '--quiet', `${revision}^{commit}`], {
    cwd: tree,
    reject: false,
  });
  if (parsed.exitCode !== 0) {
    throw new LabError(
      `${tree} has no commit '${revision}'${parsed.exitCode === 128 ? ', or is no git tree' : ''}.`,
    );
  }
  return parsed.stdout.trim();
}

async function requireVerdict(
  { judge, worktree }: BisectOptions,
  revision: string,
  expected: 0 | 1,
  context: TaskContext,
): Promise<void> {
  context.progress.note(`Judging ${revision}, which should be ${expected === 0 ? 'good' : 'bad'}.`);
  const { exitCode, output } = await run(judge, worktree, context);
  if (exitCode === expected) return;
  const words = { 0: 'is good', 1: 'is bad' }[exitCode] ?? `cannot be judged (exit code ${exitCode})`;
  throw new LabError(`${revision} ${words}: there is nothing to search for between these two.`, {
    hint: output.trim().split('\n').slice(-3).join('\n'),
  });
}

/** Run to the end, whatever the exit code; what it says goes to the log. A judge ends itself, and what it started, on SIGINT. */
async function run(
  command: readonly string[],
  cwd: string,
  { signal, progress }: TaskContext,
): Promise<{ readonly exitCode: number; readonly output: string }> {
  const [program, ...args] = command;
  const child = execa(program, args, {
    cwd,
    all: true,
    reject: false,
    cancelSignal: signal,
    env: { LC_ALL: 'C' },
  });
  child.all.setEncoding('utf8').on('data', (text: string) => {
    for (const line of text.split('\n')) {
      progress.output(line);
      if (/^(Bisecting|\[[0-9a-f]{40}\])/.test(line)) progress.note(line);
    }
  });
  const { exitCode, all } = await child;
  signal.throwIfAborted();
  return { exitCode: exitCode ?? 128, output: all };
}

async function removeWorktree(tree: string, worktree: string): Promise<void> {
  await rm(worktree, { recursive: true, force: true });
  await execa('git', ['worktree', 'prune'], { cwd: tree, reject: false });
}
