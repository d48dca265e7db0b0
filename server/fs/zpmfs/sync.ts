// SPDX-License-Identifier: BSD-3-Clause

import { zufs_ioc_sync } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { BLOCK_SIZE, ROOT_INODE, S_IFMT, S_IFREG } from './format.ts';
import { InodeInHand, READS } from './in-hand.ts';
import type { QuotaCommands } from './quota-commands.ts';
import { FLAG_READ_ONLY } from './shared.ts';

/** SYNC: what others than this file system stored to pmem, written back. */
export class Sync {
  private readonly core: Core;
  private readonly inode: InodeInHand;
  private readonly quotas: QuotaCommands | null;

  constructor(core: Core, quotas: QuotaCommands | null) {
    this.core = core;
    this.quotas = quotas;
    this.inode = new InodeInHand(core);
  }

  sync(op: Operation): number {
    const core = this.core;
    const opened = this.inode.open(op, zufs_ioc_sync.zus_ii, READS);
    if (opened < 0) return opened;
    const { pmem } = core;
    const { index, ib, iw } = this.inode;
    // Everything but stores through mappings, and times that the kernel stored, is durable already.
    if ((core.mode(ib, iw) & S_IFMT) === S_IFREG && core.shared.wasMapped(index)) {
      const offset = core.u64(op, zufs_ioc_sync.offset);
      const size = core.size(ib, iw);
      const end = Math.min(size, offset + core.u64(op, zufs_ioc_sync.length));
      const error = this.writeBackRange(
        index,
        ib,
        iw,
        Math.floor(offset / BLOCK_SIZE),
        Math.ceil(end / BLOCK_SIZE),
      );
      if (error < 0) return error;
    }
    pmem.writeBack(ib, iw * 4, 128);
    pmem.fence();
    // That of the root is that of the mount.
    if (index === ROOT_INODE && this.quotas !== null && !core.shared.flag(FLAG_READ_ONLY)) {
      const error = this.quotas.sync();
      if (error < 0) return error;
    }
    core.setU64(op, zufs_ioc_sync.write_unmapped, 0);
    return 0;
  }

  private writeBackRange(index: number, ib: number, iw: number, first: number, end: number): number {
    const { mapping, pmem, shared } = this.core;
    let fileBlock = first;
    while (fileBlock < end) {
      shared.lockShared(index);
      const next = mapping.nextMapped(ib, iw, fileBlock, end);
      const block = mapping.block;
      shared.unlockShared(index);
      if (next < 0) return next;
      if (next >= end) break;
      pmem.writeBack(block, 0, BLOCK_SIZE);
      fileBlock = next + 1;
    }
    return 0;
  }
}
