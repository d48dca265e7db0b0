// SPDX-License-Identifier: BSD-3-Clause

/**
 * `node reap-later.ts PID ADDRESS…`: waits for the end of the zufs-lab with that pid, and removes what its runs in the swarm have left
 * then. One that was not killed has left nothing. ADDRESS: of the engines of the swarm's other nodes.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { identify, isAlive } from '../runtime/process-identity.ts';
import { findManager, reachableEngines } from './manager.ts';
import { reapRuns } from './reap.ts';
import { listRuns } from './runs.ts';

const pollMs = 500;
/** A network is in use until every node has noticed that its tasks are gone. */
const mostAttempts = 60;

const [pid, ...addresses] = process.argv.slice(2);
const owner = identify(Number(pid));
while (owner !== undefined && isAlive(owner)) await sleep(pollMs);

const { manager } = await findManager();
const others = await reachableEngines(addresses);
for (let attempt = 1; attempt <= mostAttempts; attempt += 1) {
  await reapRuns(manager, others);
  if ((await listRuns(manager, others)).every((run) => run.owner !== 'orphan')) break;
  await sleep(pollMs);
}
