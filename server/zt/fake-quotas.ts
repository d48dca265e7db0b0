// SPDX-License-Identifier: BSD-3-Clause

/** Quotas on a mount of the fake kernel: what quotactl(2) does, and a chown where the server counts. */

import { FLAG, OP, zufs_ioc_quota } from '../abi/layout.ts';
import type { Command } from './fake-command.ts';
import { MountFiles } from './fake-files.ts';
import type { FakeInode } from './fake-inode.ts';

export const QUOTA = { USER: 0, GROUP: 1, PROJECT: 2 };

const NUMBERS = {
  spaceHard: [zufs_ioc_quota.space_hard, FLAG.ZUFS_QUOTA_SPACE_HARD],
  spaceSoft: [zufs_ioc_quota.space_soft, FLAG.ZUFS_QUOTA_SPACE_SOFT],
  inodesHard: [zufs_ioc_quota.inodes_hard, FLAG.ZUFS_QUOTA_INODES_HARD],
  inodesSoft: [zufs_ioc_quota.inodes_soft, FLAG.ZUFS_QUOTA_INODES_SOFT],
  spaceTimer: [zufs_ioc_quota.space_timer, FLAG.ZUFS_QUOTA_SPACE_TIMER],
  inodesTimer: [zufs_ioc_quota.inodes_timer, FLAG.ZUFS_QUOTA_INODES_TIMER],
} as const;

/** Space in bytes, timers in seconds. */
export type QuotaLimits = Partial<Record<keyof typeof NUMBERS, number>>;

export interface OwnerQuota extends Required<QuotaLimits> {
  readonly id: number;
  readonly space: number;
  readonly inodes: number;
}

export class MountQuotas extends MountFiles {
  get hasQuotas(): boolean {
    return (this.capabilities & FLAG.ZUFS_FSC_QUOTA) !== 0;
  }

  getQuota(type: number, id: number): OwnerQuota {
    return this.#askOwner(FLAG.ZUFS_QUOTA_GET, type, id);
  }

  /** The owner with the lowest number from `id` on. */
  getNextQuota(type: number, id: number): OwnerQuota {
    return this.#askOwner(FLAG.ZUFS_QUOTA_GET_NEXT, type, id);
  }

  setQuota(type: number, id: number, limits: QuotaLimits): void {
    const command = this.#quotaCommand(FLAG.ZUFS_QUOTA_SET, type).u32(zufs_ioc_quota.id, id);
    this.call(fill(command, limits), 'set quota');
  }

  /** Grace times in seconds: `spaceTimer` and `inodesTimer`. */
  setQuotaGrace(type: number, grace: Pick<QuotaLimits, 'spaceTimer' | 'inodesTimer'>): void {
    this.call(fill(this.#quotaCommand(FLAG.ZUFS_QUOTA_SET_INFO, type), grace), 'set quota info');
  }

  quotaState(type: number): {
    accounted: boolean;
    enforced: boolean;
    spaceGrace: number;
    inodesGrace: number;
    ids: number;
  } {
    const command = this.#quotaCommand(FLAG.ZUFS_QUOTA_STATE, type);
    this.call(command, 'quota state');
    const state = command.getU32(zufs_ioc_quota.state);
    return {
      accounted: (state & FLAG.ZUFS_QUOTA_ACCOUNTED) !== 0,
      enforced: (state & FLAG.ZUFS_QUOTA_ENFORCED) !== 0,
      spaceGrace: command.getU64(zufs_ioc_quota.space_timer),
      inodesGrace: command.getU64(zufs_ioc_quota.inodes_timer),
      ids: command.getU32(zufs_ioc_quota.ids),
    };
  }

  enforceQuota(type: number, on: boolean): void {
    this.call(
      this.#quotaCommand(on ? FLAG.ZUFS_QUOTA_ENABLE : FLAG.ZUFS_QUOTA_DISABLE, type),
      on ? 'quotaon' : 'quotaoff',
    );
  }

  /** What the kernel asks before it stores another owner. `forced`: by somebody with CAP_FOWNER. */
  protected chownCall(inode: FakeInode, uid: number, gid: number, forced: boolean): void {
    const command = this.#quotaCommand(FLAG.ZUFS_QUOTA_CHOWN, 0).u64(zufs_ioc_quota.zus_ii, inode.cookie);
    command.u32(zufs_ioc_quota.id, uid).u32(zufs_ioc_quota.gid, gid);
    this.call(command.u32(zufs_ioc_quota.fields, forced ? FLAG.ZUFS_IOC_CAP_ADMIN : 0), 'chown');
    const now = inode.stat();
    if (now.uid !== uid || now.gid !== gid) command.bad(`owners ${now.uid} and ${now.gid}`);
  }

  #askOwner(code: number, type: number, id: number): OwnerQuota {
    const command = this.#quotaCommand(code, type).u32(zufs_ioc_quota.id, id);
    this.call(command, 'get quota');
    const read = (key: keyof typeof NUMBERS) => command.getU64(NUMBERS[key][0]);
    return {
      id: command.getU32(zufs_ioc_quota.id),
      space: command.getU64(zufs_ioc_quota.space),
      inodes: command.getU64(zufs_ioc_quota.inodes),
      spaceHard: read('spaceHard'),
      spaceSoft: read('spaceSoft'),
      inodesHard: read('inodesHard'),
      inodesSoft: read('inodesSoft'),
      spaceTimer: read('spaceTimer'),
      inodesTimer: read('inodesTimer'),
    };
  }

  #quotaCommand(code: number, type: number): Command {
    const { SIZE, id, zus_sbi, command, type: at } = zufs_ioc_quota;
    return this.newCommand(OP.ZUFS_OP_QUOTA, SIZE, [id, SIZE - id])
      .u64(zus_sbi, this.superBlock)
      .u32(command, code)
      .u32(at, type);
  }
}

function fill(command: Command, limits: QuotaLimits): Command {
  let fields = 0;
  for (const [key, value] of Object.entries(limits) as [keyof typeof NUMBERS, number][]) {
    const [field, bit] = NUMBERS[key];
    command.u64(field, value);
    fields |= bit;
  }
  return command.u32(zufs_ioc_quota.fields, fields);
}
