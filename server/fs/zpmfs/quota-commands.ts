// SPDX-License-Identifier: BSD-3-Clause

import { FLAG, zufs_ioc_quota } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { EINVAL, ENOENT, ENOSPC, EOPNOTSUPP, ESRCH } from './errno.ts';
import { BLOCK_SIZE, I_GID, I_UID } from './format.ts';
import { CHANGES, InodeInHand } from './in-hand.ts';
import type { Quota } from './quota.ts';
import { QuotaStore } from './quota-store.ts';
import {
  INODES,
  Q_HARD,
  Q_SOFT,
  Q_TIMER,
  Q_USED,
  QUOTA_TYPES,
  type QuotaTable,
  SPACE,
} from './quota-table.ts';
import { H_QUOTA_ENFORCED, H_QUOTA_GRACE, H_QUOTA_LOCK } from './shared.ts';

/** Largest number that is exact here; limits beyond it are as good as none. */
const LARGEST = Number.MAX_SAFE_INTEGER;
/** What SET changes of an owner: the bit that says so, and where it is in the table and in the command. */
const SETTABLE: readonly {
  readonly bit: number;
  readonly number: number;
  readonly resource: number;
  readonly field: number;
}[] = [
  { bit: FLAG.ZUFS_QUOTA_SPACE_HARD, number: Q_HARD, resource: SPACE, field: zufs_ioc_quota.space_hard },
  { bit: FLAG.ZUFS_QUOTA_SPACE_SOFT, number: Q_SOFT, resource: SPACE, field: zufs_ioc_quota.space_soft },
  { bit: FLAG.ZUFS_QUOTA_SPACE_TIMER, number: Q_TIMER, resource: SPACE, field: zufs_ioc_quota.space_timer },
  { bit: FLAG.ZUFS_QUOTA_INODES_HARD, number: Q_HARD, resource: INODES, field: zufs_ioc_quota.inodes_hard },
  { bit: FLAG.ZUFS_QUOTA_INODES_SOFT, number: Q_SOFT, resource: INODES, field: zufs_ioc_quota.inodes_soft },
  {
    bit: FLAG.ZUFS_QUOTA_INODES_TIMER,
    number: Q_TIMER,
    resource: INODES,
    field: zufs_ioc_quota.inodes_timer,
  },
];

/** What quotactl(2) asks for and sets, and a chown, which comes this way too (abi/zufs-abi.md, "Quotas"). */
export class QuotaCommands {
  private readonly core: Core;
  private readonly quota: Quota;
  private readonly table: QuotaTable;
  private readonly store: QuotaStore;
  private readonly inode: InodeInHand;
  /** What SET replaces: put back when it cannot be written. */
  private readonly before = new Float64Array(SETTABLE.length);
  private readonly graceBefore = new Uint32Array(2);

  constructor(core: Core, quota: Quota) {
    this.core = core;
    this.quota = quota;
    this.table = quota.table;
    this.store = new QuotaStore(core, quota.table);
    this.inode = new InodeInHand(core);
  }

  run(op: Operation): number {
    const command = this.core.u32(op, zufs_ioc_quota.command);
    if (command === FLAG.ZUFS_QUOTA_CHOWN) return this.chown(op);
    const refused = this.core.refuse(command === FLAG.ZUFS_QUOTA_SET || command === FLAG.ZUFS_QUOTA_SET_INFO);
    if (refused < 0) return refused;
    const type = this.core.u32(op, zufs_ioc_quota.type);
    if (type >= QUOTA_TYPES) return -EINVAL;
    if (!this.quota.counts(type)) return -ESRCH;
    const id = this.core.u32(op, zufs_ioc_quota.id) | 0;
    switch (command) {
      case FLAG.ZUFS_QUOTA_GET:
        return this.answer(op, id, this.table.find(type, id));
      case FLAG.ZUFS_QUOTA_GET_NEXT:
        return this.getNext(op, type, id);
      case FLAG.ZUFS_QUOTA_SET:
        return this.set(op, type, id);
      case FLAG.ZUFS_QUOTA_STATE:
        return this.state(op, type);
      case FLAG.ZUFS_QUOTA_SET_INFO:
        return this.setInfo(op, type);
      case FLAG.ZUFS_QUOTA_ENABLE:
        Atomics.or(this.core.shared.header, H_QUOTA_ENFORCED, 1 << type);
        return 0;
      case FLAG.ZUFS_QUOTA_DISABLE:
        Atomics.and(this.core.shared.header, H_QUOTA_ENFORCED, ~(1 << type) >>> 0);
        return 0;
      default:
        return -EOPNOTSUPP;
    }
  }

  /** SYNC of the root, which is that of the mount: timers become durable. */
  sync(): number {
    return this.store.saveTimers();
  }

  private answer(op: Operation, id: number, slot: number): number {
    const { core, table } = this;
    core.setU32(op, zufs_ioc_quota.id, id >>> 0);
    core.setU32(op, zufs_ioc_quota.inodes_warns, 0);
    core.setU32(op, zufs_ioc_quota.space_warns, 0);
    if (slot >= 0) table.lock(slot);
    for (let index = 0; index < SETTABLE.length; index++) {
      const { number, resource, field } = SETTABLE[index];
      core.setU64(op, field, slot < 0 ? 0 : table.get(slot, number, resource));
    }
    core.setU64(op, zufs_ioc_quota.space, slot < 0 ? 0 : table.get(slot, Q_USED, SPACE) * BLOCK_SIZE);
    core.setU64(op, zufs_ioc_quota.inodes, slot < 0 ? 0 : table.get(slot, Q_USED, INODES));
    if (slot >= 0) table.unlock(slot);
    return 0;
  }

  private getNext(op: Operation, type: number, from: number): number {
    const { table } = this;
    let best = -1;
    for (let number = 0; number < table.owners; number++) {
      const slot = table.ownerAt(type, number);
      if (slot < 0) continue;
      const id = table.idOf(slot) >>> 0;
      if (id < from >>> 0 || !table.says(slot)) continue;
      if (best < 0 || id < table.idOf(best) >>> 0) best = slot;
    }
    return best < 0 ? -ENOENT : this.answer(op, table.idOf(best), best);
  }

  private set(op: Operation, type: number, id: number): number {
    const { core, table, before } = this;
    const fields = core.u32(op, zufs_ioc_quota.fields);
    const slot = table.slotFor(type, id);
    if (slot < 0) return -ENOSPC;
    core.shared.lockWord(H_QUOTA_LOCK);
    table.lock(slot);
    for (let index = 0; index < SETTABLE.length; index++) {
      const { bit, number, resource, field } = SETTABLE[index];
      before[index] = table.get(slot, number, resource);
      if ((fields & bit) !== 0) table.put(slot, number, resource, Math.min(LARGEST, core.u64(op, field)));
    }
    if (id !== 0) table.adjustTimers(type, slot);
    table.unlock(slot);
    const error = this.store.save(false);
    if (error < 0) {
      table.lock(slot);
      for (let index = 0; index < SETTABLE.length; index++)
        table.put(slot, SETTABLE[index].number, SETTABLE[index].resource, before[index]);
      table.adjustTimers(type, slot);
      table.unlock(slot);
    }
    core.shared.unlockWord(H_QUOTA_LOCK);
    return error;
  }

  private state(op: Operation, type: number): number {
    const { core, table } = this;
    const { header } = core.shared;
    const isEnforced = ((Atomics.load(header, H_QUOTA_ENFORCED) >>> type) & 1) !== 0;
    let owners = 0;
    for (let number = 0; number < table.owners; number++) {
      const slot = table.ownerAt(type, number);
      if (slot >= 0 && table.says(slot)) owners++;
    }
    const enforced = isEnforced ? FLAG.ZUFS_QUOTA_ENFORCED : 0;
    core.setU32(op, zufs_ioc_quota.state, FLAG.ZUFS_QUOTA_ACCOUNTED | enforced);
    core.setU64(op, zufs_ioc_quota.space_timer, Atomics.load(header, H_QUOTA_GRACE + type * 2 + SPACE));
    core.setU64(op, zufs_ioc_quota.inodes_timer, Atomics.load(header, H_QUOTA_GRACE + type * 2 + INODES));
    core.setU32(op, zufs_ioc_quota.ids, owners);
    return 0;
  }

  private setInfo(op: Operation, type: number): number {
    const { core, graceBefore } = this;
    const { shared } = core;
    const fields = core.u32(op, zufs_ioc_quota.fields);
    const at = H_QUOTA_GRACE + type * 2;
    shared.lockWord(H_QUOTA_LOCK);
    graceBefore[SPACE] = shared.header[at + SPACE];
    graceBefore[INODES] = shared.header[at + INODES];
    if ((fields & FLAG.ZUFS_QUOTA_SPACE_TIMER) !== 0)
      Atomics.store(
        shared.header,
        at + SPACE,
        Math.min(0xffffffff, core.u64(op, zufs_ioc_quota.space_timer)),
      );
    if ((fields & FLAG.ZUFS_QUOTA_INODES_TIMER) !== 0)
      Atomics.store(
        shared.header,
        at + INODES,
        Math.min(0xffffffff, core.u64(op, zufs_ioc_quota.inodes_timer)),
      );
    const error = this.store.save(false);
    if (error < 0) {
      Atomics.store(shared.header, at + SPACE, graceBefore[SPACE]);
      Atomics.store(shared.header, at + INODES, graceBefore[INODES]);
    }
    shared.unlockWord(H_QUOTA_LOCK);
    return error;
  }

  /** Another user and group for an inode: both have room for it, or neither gets it. */
  private chown(op: Operation): number {
    const { core, quota } = this;
    const opened = this.inode.open(op, zufs_ioc_quota.zus_ii, CHANGES);
    if (opened < 0) return opened;
    const { index, ib, iw } = this.inode;
    const uid = core.u32(op, zufs_ioc_quota.id) | 0;
    const gid = core.u32(op, zufs_ioc_quota.gid) | 0;
    const forced = (core.u32(op, zufs_ioc_quota.fields) & FLAG.ZUFS_IOC_CAP_ADMIN) !== 0;
    core.shared.lockExclusive(index);
    let error = quota.takeFor(ib, iw, 0, uid, forced);
    if (error === 0) {
      error = quota.takeFor(ib, iw, 1, gid, forced);
      if (error < 0) quota.giveFor(ib, iw, 0, uid);
    }
    if (error === 0) {
      quota.leave(ib, iw, 0, uid);
      quota.leave(ib, iw, 1, gid);
      core.journal.begin();
      core.journal.set(ib, iw + I_UID, uid >>> 0);
      core.journal.set(ib, iw + I_GID, gid >>> 0);
      core.journal.commit();
    }
    core.shared.unlockExclusive(index);
    return error;
  }
}
