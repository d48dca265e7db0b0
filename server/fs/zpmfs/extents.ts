// SPDX-License-Identifier: BSD-3-Clause

import { zufs_ioc_fiemap, zufs_ioc_seek } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { EINVAL, ENXIO, EUCLEAN } from './errno.ts';
import {
  BLOCK_SIZE,
  MAP_UNWRITTEN,
  TWO_32,
  X_XATTR_BLOCK,
  X_XATTR_BLOCKS,
  XATTR_MAGIC,
  XB_MAGIC,
  XB_NEXT,
  xattrBlocksMax,
} from './format.ts';
import { InodeInHand, READS } from './in-hand.ts';

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

const FIEMAP_FLAG_XATTR = 0x2;
const FIEMAP_EXTENT_LAST = 0x1;
const FIEMAP_EXTENT_UNWRITTEN = 0x800;
const FIEMAP_EXTENT_SHARED = 0x2000;
const FIEMAP_EXTENT_BYTES = 56;

/** What an application can ask about the blocks of a file and of its attributes: SEEK_DATA, SEEK_HOLE and fiemap. */
export class Extents {
  private readonly core: Core;
  private readonly inode: InodeInHand;

  constructor(core: Core) {
    this.core = core;
    this.inode = new InodeInHand(core);
  }

  llseek(op: Operation): number {
    const core = this.core;
    const opened = this.inode.openFile(op, zufs_ioc_seek.zus_ii, READS);
    if (opened < 0) return opened;
    const { index, ib, iw } = this.inode;
    const whence = core.u32(op, zufs_ioc_seek.whence);
    const offset = core.u64(op, zufs_ioc_seek.offset_in);
    const size = core.size(ib, iw);
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return -EINVAL;
    if (offset >= size) return -ENXIO;
    core.shared.lockShared(index);
    const result = this.seek(ib, iw, offset, size, whence === SEEK_DATA);
    core.shared.unlockShared(index);
    if (result < 0) return result;
    core.setU64(op, zufs_ioc_seek.offset_out, result);
    return 0;
  }

  private seek(ib: number, iw: number, offset: number, size: number, data: boolean): number {
    const { mapping } = this.core;
    const end = Math.ceil(size / BLOCK_SIZE);
    let fileBlock = Math.floor(offset / BLOCK_SIZE);
    while (fileBlock < end) {
      const error = mapping.lookup(ib, iw, fileBlock);
      if (error < 0) return error;
      const isData = mapping.block !== 0 && (mapping.flags & MAP_UNWRITTEN) === 0;
      if (isData === data) return Math.max(offset, fileBlock * BLOCK_SIZE);
      fileBlock += mapping.block === 0 ? mapping.holeSpan : 1;
    }
    return data ? -ENXIO : size;
  }

  fiemap(op: Operation): number {
    const core = this.core;
    const opened = this.inode.openFile(op, zufs_ioc_fiemap.zus_ii, READS);
    if (opened < 0) return opened;
    const { index } = this.inode;
    const start = core.u64(op, zufs_ioc_fiemap.start);
    const length = core.u64(op, zufs_ioc_fiemap.length);
    const asked = core.u32(op, zufs_ioc_fiemap.extents_max);
    const room = Math.floor(core.windowLength(op) / FIEMAP_EXTENT_BYTES);
    const max = asked === 0 ? 0 : Math.min(asked, room);
    const first = Math.floor(start / BLOCK_SIZE);
    const end = Math.min(TWO_32, Math.ceil((start + length) / BLOCK_SIZE));
    const ofAttributes = (core.u32(op, zufs_ioc_fiemap.flags) & FIEMAP_FLAG_XATTR) !== 0;
    core.shared.lockShared(index);
    const count = ofAttributes
      ? this.listAttributes(op, first, end, max)
      : this.listExtents(op, first, end, max);
    core.shared.unlockShared(index);
    if (count < 0) return count;
    core.setU32(op, zufs_ioc_fiemap.extents_mapped, count);
    return 0;
  }

  /** Fill in the extents of the inode in hand, or only count them when `max` is 0. */
  private listExtents(op: Operation, first: number, end: number, max: number): number {
    const { mapping, allocator } = this.core;
    const { ib, iw } = this.inode;
    const countOnly = max === 0;
    let count = 0;
    let fileBlock = first;
    while (fileBlock < end && (countOnly || count < max)) {
      const from = mapping.nextMapped(ib, iw, fileBlock, end);
      if (from < 0) return from;
      if (from >= end) return count;
      const start = mapping.block;
      const unwritten = mapping.flags & MAP_UNWRITTEN;
      const shared = allocator.references(start) > 1;
      let run = 1;
      while (from + run < end) {
        const error = mapping.lookup(ib, iw, from + run);
        if (error < 0) return error;
        if (mapping.block !== start + run || (mapping.flags & MAP_UNWRITTEN) !== unwritten) break;
        if (allocator.references(mapping.block) > 1 !== shared) break;
        run++;
      }
      fileBlock = from + run;
      if (!countOnly) {
        let flags = unwritten !== 0 ? FIEMAP_EXTENT_UNWRITTEN : 0;
        if (shared) flags |= FIEMAP_EXTENT_SHARED;
        const following = mapping.nextMapped(ib, iw, fileBlock, TWO_32);
        if (following < 0) return following;
        if (following >= TWO_32) flags |= FIEMAP_EXTENT_LAST;
        this.putExtent(op, count, from, start, run, flags);
      }
      count++;
    }
    return count;
  }

  /** The same of the blocks with attributes, as if they were a file of their own; those in the inode have none. */
  private listAttributes(op: Operation, first: number, end: number, max: number): number {
    const { pmem } = this.core;
    const { index, ib, iw } = this.inode;
    const blocks = pmem.load(ib, iw + X_XATTR_BLOCKS);
    if (blocks > xattrBlocksMax(index)) return -EUCLEAN;
    let block = pmem.load(ib, iw + X_XATTR_BLOCK);
    let count = 0;
    for (let number = 0; number < blocks && number < end && (max === 0 || count < max); number++) {
      if (!pmem.inRange(block) || pmem.load(block, XB_MAGIC) !== XATTR_MAGIC) return -EUCLEAN;
      if (number >= first) {
        const flags = number === blocks - 1 ? FIEMAP_EXTENT_LAST : 0;
        if (max !== 0) this.putExtent(op, count, number, block, 1, flags);
        count++;
      }
      block = pmem.load(block, XB_NEXT);
    }
    return count;
  }

  /** struct fiemap_extent. */
  private putExtent(
    op: Operation,
    index: number,
    fileBlock: number,
    block: number,
    run: number,
    flags: number,
  ): void {
    const at = this.core.windowOffset(op) + index * FIEMAP_EXTENT_BYTES;
    op.window.fill(0, at, at + FIEMAP_EXTENT_BYTES);
    this.putU64(op.window, at, fileBlock * BLOCK_SIZE);
    this.putU64(op.window, at + 8, block * BLOCK_SIZE);
    this.putU64(op.window, at + 16, run * BLOCK_SIZE);
    this.putU64(op.window, at + 40, flags);
  }

  private putU64(bytes: Uint8Array, at: number, value: number): void {
    const low = value % TWO_32;
    const high = Math.floor(value / TWO_32);
    for (let index = 0; index < 4; index++) {
      bytes[at + index] = low >>> (index * 8);
      bytes[at + 4 + index] = high >>> (index * 8);
    }
  }
}
