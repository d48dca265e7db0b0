// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { identify, isAlive } from './runtime/process-identity.ts';

/** A directory for work under way, in the cache, so that what is made in it can be moved to its place in one rename. */
export interface WorkDirectory extends AsyncDisposable {
  readonly path: string;
}

let count = 0;

/**
 * Make one, for `what` (part of its name). It goes away when disposed of; its name says which process it belongs to, so that
 * `sweepWorkDirectories` finds those of processes that were killed.
 */
export async function makeWorkDirectory(cacheRoot: string, what: string): Promise<WorkDirectory> {
  const self = identify(process.pid);
  if (self === undefined) throw new Error('This process is not in /proc.');
  count += 1;
  const path = join(cacheRoot, 'tmp', [what, self.pid, self.startTime, self.bootId, count].join('.'));
  await mkdir(path, { recursive: true });
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Remove the work directories of processes that are gone. */
export async function sweepWorkDirectories(cacheRoot: string): Promise<void> {
  const directory = join(cacheRoot, 'tmp');
  for (const name of await readdir(directory).catch((): string[] => [])) {
    const match = /\.(\d+)\.(\d+)\.([0-9a-f-]+)\.\d+$/.exec(name);
    if (match === null) continue;
    const owner = { pid: Number(match[1]), startTime: match[2], bootId: match[3] };
    // One that cannot be removed (made by root) is in nobody's way.
    if (!isAlive(owner))
      await rm(join(directory, name), { recursive: true, force: true }).catch(() => undefined);
  }
}
