// SPDX-License-Identifier: BSD-3-Clause

import type { MountRequest } from '../filesystem.ts';
import type { Core } from './core.ts';
import { INODE_IN_USE, INODES_PER_BLOCK, X_STATE } from './format.ts';
import { slotWord } from './inodes.ts';
import type { Quota } from './quota.ts';
import { QuotaStore } from './quota-store.ts';
import { QUOTA_TYPES } from './quota-table.ts';
import { FLAG_SHUTDOWN, H_INODE_BLOCKS, H_QUOTA_OWNERS } from './shared.ts';

/** Read the limits and count anew what everybody has: so it is right after any crash. Before anything changes. */
export function startQuotas(core: Core, log: MountRequest['log']): void {
  const { quota } = core;
  if (quota === null) return;
  const what = new QuotaStore(core, quota.table).load();
  if (what !== null) log('error', `zpmfs: limits of quotas are lost: ${what}`);
  countAll(core, quota);
  for (let type = 0; type < QUOTA_TYPES; type++) if (quota.counts(type)) adjustTimers(quota, type);
  log('info', `zpmfs: quotas of ${core.shared.header[H_QUOTA_OWNERS]} owners`);
}

/** All inodes in use, those without a name too: they count until they are removed. */
function countAll(core: Core, quota: Quota): void {
  const { pmem, shared } = core;
  const tables = shared.header[H_INODE_BLOCKS];
  for (let table = 0; table < tables; table++) {
    const ib = shared.inodeBlocks[table];
    for (let slot = table === 0 ? 1 : 0; slot < INODES_PER_BLOCK; slot++) {
      const iw = slotWord(slot);
      if (pmem.load(ib, iw + X_STATE) === INODE_IN_USE) quota.addInode(ib, iw);
    }
  }
}

/** A timer that a crash lost starts again. */
function adjustTimers(quota: Quota, type: number): void {
  const { table } = quota;
  for (let number = 0; number < table.owners; number++) {
    const slot = table.ownerAt(type, number);
    if (slot >= 0 && table.idOf(slot) !== 0) table.adjustTimers(type, slot);
  }
}

/** Before a file system is left: what the timers are at. */
export function stopQuotas(core: Core, log: MountRequest['log']): void {
  if (core.quota === null || core.shared.flag(FLAG_SHUTDOWN)) return;
  const error = new QuotaStore(core, core.quota.table).saveTimers();
  if (error < 0) log('error', `zpmfs: timers of quotas are not saved: errno ${-error}`);
}
