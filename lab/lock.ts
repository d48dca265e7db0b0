// SPDX-License-Identifier: BSD-3-Clause

import { setTimeout as sleep } from 'node:timers/promises';
import { lock } from 'proper-lockfile';
import type { TaskContext } from './runtime/runtime.ts';

/** A holder that was killed counts as gone once its lock has not been renewed for this long. */
const staleMs = 15_000;
const pollMs = 500;

/** Run `body` with the lock at `path` (a directory made for the purpose) held; say once what it is that is waited for. */
export async function withLock<T>(
  path: string,
  waitingFor: string,
  context: TaskContext,
  body: () => Promise<T>,
): Promise<T> {
  const release = await acquire(path, waitingFor, context);
  try {
    return await body();
  } finally {
    await release();
  }
}

async function acquire(path: string, waitingFor: string, context: TaskContext): Promise<() => Promise<void>> {
  for (let waited = false; ; waited = true) {
    context.signal.throwIfAborted();
    try {
      return await lock(path, {
        lockfilePath: path,
        realpath: false,
        stale: staleMs,
        // The default throws out of a timer. A lock that was lost (the machine slept) is no reason to die in mid-build:
        // artefacts appear by one rename, so at worst the work is done twice.
        onCompromised: (error) => context.progress.note(`The lock ${path} was lost: ${error.message}.`),
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error;
      if (!waited) context.progress.note(`Waiting for ${waitingFor}.`);
      await sleep(pollMs, undefined, { signal: context.signal });
    }
  }
}
