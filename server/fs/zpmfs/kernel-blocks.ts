// SPDX-License-Identifier: BSD-3-Clause

import { FLAG, IOM, zufs_ioc_hdr, zufs_ioc_IO } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { BLOCKS_PER_STEP, type Data, IN_PLACE } from './data.ts';
import { EINVAL } from './errno.ts';
import { BLOCK_SIZE, MAP_UNWRITTEN, MAX_FILE_SIZE } from './format.ts';
import { InodeInHand } from './in-hand.ts';

/** Blocks for the kernel, to map into applications and to copy from and to by itself. */
export class KernelBlocks {
  private readonly core: Core;
  private readonly data: Data;
  private readonly inode: InodeInHand;

  constructor(core: Core, data: Data) {
    this.core = core;
    this.data = data;
    this.inode = new InodeInHand(core);
  }

  getMulty(op: Operation): number {
    const core = this.core;
    const rw = core.u32(op, zufs_ioc_IO.rw);
    const forWrite = (rw & FLAG.ZUFS_RW_WRITE) !== 0;
    const ahead = (rw & FLAG.ZUFS_RW_AHEAD) !== 0;
    const opened = this.inode.openFile(op, zufs_ioc_IO.zus_ii, forWrite);
    if (opened < 0) return opened;
    const { index, ib, iw } = this.inode;
    const position = core.u64(op, zufs_ioc_IO.filepos);
    if (position % BLOCK_SIZE !== 0 || position >= MAX_FILE_SIZE) return -EINVAL;
    const inLength = op.u16[(op.base + zufs_ioc_hdr.in_len) >>> 1];
    let count = Math.ceil(core.windowLength(op) / BLOCK_SIZE);
    count = Math.min(
      count,
      core.u32(op, zufs_ioc_IO.ziom_iom_max),
      Math.floor((inLength - zufs_ioc_IO.iom_e) / 8),
      BLOCKS_PER_STEP,
      (MAX_FILE_SIZE - position) / BLOCK_SIZE,
    );
    if (count < 1) return -EINVAL;
    const first = position / BLOCK_SIZE;
    core.setU32(op, zufs_ioc_IO.ret_flags, 0);
    let result = 0;
    if (forWrite) {
      core.shared.lockExclusive(index);
      result = ahead
        ? this.data.allocateAhead(ib, iw, first, count)
        : this.data.allocateFor(ib, iw, first, count);
      if (result > 0) {
        count = result;
        if (this.data.replaced) core.setU32(op, zufs_ioc_IO.ret_flags, FLAG.ZUFS_RET_NEW);
        if (!ahead) core.shared.noteMapped(index);
        result = this.listBlocks(op, ib, iw, first, count);
      }
      core.shared.unlockExclusive(index);
    } else {
      core.shared.lockShared(index);
      result = this.listBlocks(op, ib, iw, first, count);
      core.shared.unlockShared(index);
    }
    if (result < 0) return result;
    core.setU32(op, zufs_ioc_IO.pool, 0);
    core.setU32(op, zufs_ioc_IO.ziom_iom_n, count);
    return 0;
  }

  /**
   * IOM_T1_WRITE says that a writer may store to the block where it is; IOM_T1_READ, that another file has it too. The
   * kernel may keep both: no block moves or is freed but by an operation on its own inode.
   */
  private listBlocks(op: Operation, ib: number, iw: number, first: number, count: number): number {
    const { mapping } = this.core;
    let at = (op.base + zufs_ioc_IO.iom_e) >>> 2;
    for (let index = 0; index < count; index++, at += 2) {
      const kind = this.data.kindOf(ib, iw, first + index);
      if (kind < 0) return kind;
      if (mapping.block === 0 || (mapping.flags & MAP_UNWRITTEN) !== 0) {
        op.u32[at] = 0;
        op.u32[at + 1] = 0;
      } else {
        const type = kind === IN_PLACE ? IOM.IOM_T1_WRITE : IOM.IOM_T1_READ;
        op.u32[at] = (mapping.block << 3) >>> 0;
        op.u32[at + 1] = (type << 24) | (mapping.block >>> 29);
      }
    }
    return 0;
  }

  putMulty(op: Operation): number {
    return Math.min(this.core.indexAt(op, zufs_ioc_IO.zus_ii), 0);
  }
}
