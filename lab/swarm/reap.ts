// SPDX-License-Identifier: BSD-3-Clause

import type Docker from 'dockerode';
import { removeThings } from './removal.ts';
import { listRuns } from './runs.ts';

/**
 * Remove what runs of this machine left in the swarm whose zufs-lab was killed before it could. Gives how much that was; what is
 * still in use goes with the next run. `others`: engines of the swarm's other nodes.
 */
export async function reapRuns(manager: Docker, others: readonly Docker[] = []): Promise<number> {
  let count = 0;
  for (const { owner, things } of await listRuns(manager, others)) {
    if (owner === 'orphan') count += (await removeThings(things, { attempts: 1 })).removed.length;
  }
  return count;
}
