// SPDX-License-Identifier: BSD-3-Clause

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { removeThings } from './removal.ts';
import { listRuns } from './runs.ts';

/**
 * Remove what runs of this machine left in the swarm whose zufs-lab was killed before it could. Gives how much that was; what is
 * still in use goes with the next call. `others`: engines of the swarm's other nodes.
 */
export async function reapRuns(manager: Docker, others: readonly Docker[] = []): Promise<number> {
  let count = 0;
  for (const { owner, things } of await listRuns(manager, others)) {
    if (owner === 'orphan') count += (await removeThings(things, { attempts: 1 })).removed.length;
  }
  return count;
}

/**
 * Have another process, out of reach of what ends this one, wait for its end and remove what it left then. `addresses`: of the
 * engines of the swarm's other nodes.
 */
export function reapLater(addresses: readonly string[]): void {
  const script = join(import.meta.dirname, 'reap-later.ts');
  const reaper = spawn(process.execPath, [script, `${process.pid}`, ...addresses], {
    detached: true,
    stdio: 'ignore',
  });
  // Without it the next run here removes what this one leaves.
  reaper.on('error', () => undefined);
  reaper.unref();
}
