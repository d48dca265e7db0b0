// SPDX-License-Identifier: BSD-3-Clause

/** For tests: one ZT in an isolate of its own, whose files belong to an owner that others work for too. */

import { parentPort, workerData } from 'node:worker_threads';
import { DirectoryLocks } from '../../zt/fake-locks.ts';
import { QuotaTable } from './quota-table.ts';
import { SharedState } from './shared.ts';
import { Random } from './test-model.ts';
import { outcomeOf } from './test-quota.ts';
import { addon, type JoinedMount, joinMount } from './test-volume.ts';

export interface QuotaWork extends JoinedMount {
  readonly steps: number;
  readonly owner: number;
  /** For whom a ZT takes 3 blocks and gives back 2 so many times, without a pause. */
  readonly busyOwner: number;
  readonly busyTurns: number;
  /** Locks on directories, which all ZTs share. */
  readonly locks: SharedArrayBuffer;
}

export interface QuotaWorkDone {
  readonly outcomes: Record<string, number>;
  /** The most that anybody was seen to have. */
  readonly mostSpace: number;
  readonly mostInodes: number;
  readonly reports: string[];
}

const { steps, owner, busyOwner, busyTurns, zt, locks, ...joined } = workerData as QuotaWork;
const kernel = joinMount({ ...joined, zt });
const fs = kernel.mount();
fs.locks = new DirectoryLocks(locks);
const random = new Random(zt);
const outcomes: Record<string, number> = {};
let mostSpace = 0;
let mostInodes = 0;
for (let step = 0; step < steps; step++) {
  const path = `/${zt}-${random.next(8)}`;
  const size = random.next(20) * 4096;
  const outcome = outcomeOf(
    random.pick([
      () => fs.create(path, { uid: owner }),
      () => fs.create(path, { uid: 0 }),
      () => fs.write(path, size, new Uint8Array(1 + random.next(60_000))),
      () => fs.write(path, size, new Uint8Array(1 + random.next(60_000))),
      () => fs.truncate(path, size),
      () => fs.chown(path, random.pick([0, owner]), 0),
      () => fs.unlink(path),
    ]),
  );
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  const { space, inodes } = fs.getQuota(0, owner);
  mostSpace = Math.max(mostSpace, space);
  mostInodes = Math.max(mostInodes, inodes);
}
fs.dropCaches();
const table = new QuotaTable(new SharedState(joined.mounted.shared, addon), addon);
const slot = table.slotFor(0, busyOwner);
for (let turn = 0; turn < busyTurns; turn++) {
  table.take(0, slot, 3, 1, false);
  table.give(0, slot, 2, 1);
}
const done: QuotaWorkDone = { outcomes, mostSpace, mostInodes, reports: [...kernel.reports] };
parentPort?.postMessage(done);
