// SPDX-License-Identifier: BSD-3-Clause

import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import prettyBytes from 'pretty-bytes';
import { CommandFailedError, LabError } from './errors.ts';

const binary = { binary: true } as const;

/** Bytes that this user may still write where `path` is, or will be. */
export async function freeBytes(path: string): Promise<number> {
  for (let at = path; ; at = dirname(at)) {
    try {
      const { bavail, bsize } = await statfs(at);
      return bavail * bsize;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || at === dirname(at)) throw error;
    }
  }
}

/** Refuse to begin `what` when less than `bytes` is free where `path` is. */
export async function requireSpace(path: string, bytes: number, what: string): Promise<void> {
  const free = await freeBytes(path);
  if (free >= bytes) return;
  throw new LabError(
    `No disk space: ${what} needs ${prettyBytes(bytes, binary)} in ${path}, which has ${prettyBytes(free, binary)} left.`,
    { hint: 'Free some, or set cacheDir to a larger disk.' },
  );
}

/** `error` as a disk-full error if that is what it is at heart: ENOSPC here, or a program's word for it. */
export function asDiskFull(error: unknown, path: string): unknown {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const full =
      ['ENOSPC', 'EDQUOT'].includes((at as NodeJS.ErrnoException).code ?? '') ||
      (at instanceof CommandFailedError && /No space left on device|Disk quota exceeded/.test(at.outputTail));
    if (!full) continue;
    return new LabError(`No disk space: ${path} filled up while building.`, {
      hint: 'Free some, or set cacheDir to a larger disk; what was half done has been removed.',
      cause: error,
    });
  }
  return error;
}
