// SPDX-License-Identifier: BSD-3-Clause

import { setTimeout as sleep } from 'node:timers/promises';
import { lock } from 'proper-lockfile';
import type { TaskContext } from './runtime/runtime.ts';

/** A holder that was killed counts as gone once its lock has not been renewed for this long. */
export const staleMs = 15_000;
const pollMs = 500;

/** What proper-lockfile says of a lock that is not ours any more. */
const lostCodes: readonly (string | undefined)[] = ['ERELEASED', 'ENOTACQUIRED'];

/** Run `body` with the lock at `path` (a directory made for the purpose) held; say once what it is that is waited for. */
export async function withLock<T>(
  path: string,
  waitingFor: string,
  context: TaskContext,
  body: () => Promise<T>,
): Promise<T> {
  await using _ = await acquire(path, waitingFor, context);
  return await body();
}

async function acquire(path: string, waitingFor: string, context: TaskContext): Promise<AsyncDisposable> {
  for (let waited = false; ; waited = true) {
    context.signal.throwIfAborted();
    const held = await tryLock(path, (why) => context.progress.note(`The lock ${path} was lost: ${why}.`));
    if (held !== undefined) return held;
    if (!waited) {
      context.progress.note(`Waiting for ${waitingFor}.`);
      // Nor does the step still do what it said last.
      context.progress.update('waiting');
    }
    await sleep(pollMs, undefined, { signal: context.signal });
  }
}

/**
 * Take the lock at `path` (a directory made for the purpose) until it is disposed of; undefined when somebody has it. Another process
 * takes it over when the machine sleeps for long: `onLost` hears of that. It is no reason to die in mid-build: artefacts appear by one
 * rename, so at worst the work is done twice.
 */
export async function tryLock(
  path: string,
  onLost: (why: string) => void,
): Promise<AsyncDisposable | undefined> {
  let release: () => Promise<void>;
  try {
    release = await lock(path, {
      lockfilePath: path,
      realpath: false,
      stale: staleMs,
      // The default throws out of a timer.
      onCompromised: (error) => onLost(error.message),
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ELOCKED') return undefined;
    throw error;
  }
  const releaseUnlessLost = async (): Promise<void> => {
    try {
      await release();
    } catch (error) {
      if (!lostCodes.includes((error as NodeJS.ErrnoException).code)) throw error;
    }
  };
  return { [Symbol.asyncDispose]: releaseUnlessLost };
}
