// SPDX-License-Identifier: BSD-3-Clause

/**
 * Ending what runs through sudo. It shares our process group, since sudo has to be in the foreground of its terminal to ask for a
 * password there, and is root's, so that only sudo can signal it.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProcessIdentity } from './process-identity.ts';
import { ProcessTree } from './process-tree.ts';

const pollMs = 25;
/** The first SIGTERM misses what is started while it is on its way. */
const mostPasses = 3;
/** Nothing outlives SIGKILL for as long. */
const killMs = 5000;

/** SIGTERM to what `sudo` runs. Where that would take a password, nothing happens. */
export async function terminateThroughSudo(sudo: ProcessIdentity): Promise<void> {
  await terminate(new ProcessTree(sudo), ['sudo', '-n']);
}

/**
 * SIGTERM to what `sudo` runs, SIGKILL to what is left of it after `graceMs`; `prefix` has a command run as root. False when that was
 * refused, and it goes on.
 */
export async function endThroughSudo(
  sudo: ProcessIdentity,
  prefix: readonly string[],
  graceMs: number,
): Promise<boolean> {
  const tree = new ProcessTree(sudo);
  if (!(await terminate(tree, prefix))) return false;
  if (await hasEnded(tree, graceMs)) return true;
  await kill('KILL', tree.running(), tree, prefix);
  return await hasEnded(tree, killMs);
}

/** False when it was refused. */
async function terminate(tree: ProcessTree, prefix: readonly string[]): Promise<boolean> {
  const all = tree.running();
  const first = programsOf(all);
  // One that still asks for its password runs nothing.
  if (!(await kill('TERM', first.length > 0 ? first : all, tree, prefix))) return false;
  const signalled = new Set(first);
  for (let pass = 2; pass <= mostPasses; pass += 1) {
    const late = programsOf(tree.running()).filter((pid) => !signalled.has(pid));
    await kill('TERM', late, tree, prefix);
    for (const pid of late) signalled.add(pid);
  }
  return true;
}

/**
 * Without sudo itself, which ends with what it runs. It would pass the signal on, so that some get it twice, in the middle of tidying
 * up; and it does not when it comes from its own process group.
 */
function programsOf(pids: readonly number[]): number[] {
  return pids.filter((pid) => nameOf(pid) !== 'sudo');
}

/** False when none of them got it. */
async function kill(
  signal: 'TERM' | 'KILL',
  pids: readonly number[],
  tree: ProcessTree,
  prefix: readonly string[],
): Promise<boolean> {
  if (pids.length === 0) return true;
  const [program, ...words] = [...prefix, 'kill', `-${signal}`, ...pids.map(String)];
  // sudo takes its time, in which they may start others, whom nobody finds once their parents are gone.
  const look = setInterval(() => tree.running(), pollMs);
  try {
    const [code] = (await once(spawn(program, words, { stdio: 'ignore' }), 'close')) as [number | null];
    if (code === 0) return true;
  } finally {
    clearInterval(look);
  }
  // kill(1) also fails when one of them was gone already.
  const left = tree.running();
  return !pids.every((pid) => left.includes(pid));
}

async function hasEnded(tree: ProcessTree, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  while (tree.running().length > 0) {
    if (performance.now() > deadline) return false;
    await sleep(pollMs);
  }
  return true;
}

function nameOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return undefined;
  }
}
