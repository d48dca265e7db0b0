// SPDX-License-Identifier: BSD-3-Clause

import { FLAG, zufs_ioc_IO } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { BLOCKS_PER_STEP, type Data } from './data.ts';
import { EDQUOT, EFBIG, EINVAL, ENOSPC, EOPNOTSUPP } from './errno.ts';
import { BLOCK_SIZE, I_BLOCKS, MAP_PRESENT, MAP_SHARED, MAP_UNWRITTEN, MAX_FILE_SIZE } from './format.ts';
import { CHANGES, InodeInHand } from './in-hand.ts';
import { CHUNK_BLOCKS } from './shared.ts';
import { Shift } from './shift.ts';

const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const COLLAPSE_RANGE = 8;
const ZERO_RANGE = 16;
const INSERT_RANGE = 32;
const UNSHARE_RANGE = 64;

/** Which blocks a file has: fallocate in all its modes, and truncate. */
export class Space {
  private readonly core: Core;
  private readonly inode: InodeInHand;
  private readonly data: Data;
  private readonly shift: Shift;

  constructor(core: Core, data: Data) {
    this.core = core;
    this.inode = new InodeInHand(core);
    this.data = data;
    this.shift = new Shift(core, data);
  }

  fallocate(op: Operation): number {
    const core = this.core;
    const opened = this.inode.openFile(op, zufs_ioc_IO.zus_ii, CHANGES);
    if (opened < 0) return opened;
    const { index, ib, iw } = this.inode;
    const mode = core.u32(op, zufs_ioc_IO.rw);
    const from = core.u64(op, zufs_ioc_IO.filepos);
    const to = core.u64(op, zufs_ioc_IO.last_pos);
    core.shared.lockExclusive(index);
    let error: number;
    if (mode === FLAG.ZUFS_FL_TRUNCATE) error = this.data.setSize(ib, iw, from);
    else if (mode === FLAG.ZUFS_FL_DROP_AHEAD) error = this.dropAhead(ib, iw, to);
    else if (to <= from) error = -EINVAL;
    else if (to > MAX_FILE_SIZE) error = -EFBIG;
    else error = this.change(ib, iw, mode, from, to);
    core.shared.unlockExclusive(index);
    return error;
  }

  /** Take back blocks behind the end of a file, before `to`. */
  private dropAhead(ib: number, iw: number, to: number): number {
    const from = Math.ceil(this.core.size(ib, iw) / BLOCK_SIZE) * BLOCK_SIZE;
    return from < to ? this.punch(ib, iw, from, to) : 0;
  }

  private change(ib: number, iw: number, mode: number, from: number, to: number): number {
    switch (mode) {
      case 0:
      case KEEP_SIZE:
        return this.allocate(ib, iw, from, to, mode === 0, false);
      case PUNCH_HOLE:
      case PUNCH_HOLE | KEEP_SIZE:
        return this.punch(ib, iw, from, to);
      case ZERO_RANGE:
      case ZERO_RANGE | KEEP_SIZE:
        return this.zeroRange(ib, iw, from, to, mode === ZERO_RANGE);
      case COLLAPSE_RANGE:
        return this.shift.collapse(ib, iw, from, to);
      case INSERT_RANGE:
        return this.shift.insert(ib, iw, from, to);
      case UNSHARE_RANGE:
      case UNSHARE_RANGE | KEEP_SIZE: {
        const error = this.unshare(ib, iw, from, Math.min(to, this.core.size(ib, iw)));
        return error < 0 ? error : this.allocate(ib, iw, from, to, mode === UNSHARE_RANGE, false);
      }
      default:
        return -EOPNOTSUPP;
    }
  }

  /**
   * Map every block of a range, new ones as unwritten. `zero`: blocks that are there become unwritten too. Works in
   * steps, each durable; ENOSPC comes before the first one when it can be foreseen.
   */
  private allocate(ib: number, iw: number, from: number, to: number, grow: boolean, zero: boolean): number {
    const { mapping, allocator } = this.core;
    const first = Math.floor(from / BLOCK_SIZE);
    const end = Math.ceil(to / BLOCK_SIZE);
    const size = this.core.size(ib, iw);
    const newSize = grow && to > size ? to : -1;
    if (newSize >= 0) {
      const error = this.data.zeroAhead(ib, iw, size, newSize);
      if (error < 0) return error;
    }
    let missing = 0;
    for (let fileBlock = first; fileBlock < end; ) {
      const error = mapping.lookup(ib, iw, fileBlock);
      if (error < 0) return error;
      if (mapping.block === 0) {
        missing += Math.min(mapping.holeSpan, end - fileBlock);
        fileBlock += mapping.holeSpan;
      } else {
        fileBlock++;
      }
    }
    if (missing > 0 && missing + mapping.nodesFor(first, end - 1) > allocator.available()) return -ENOSPC;
    const { quota, pmem } = this.core;
    if (quota !== null && quota.takeBlocks(ib, iw, missing) < 0) return -EDQUOT;
    const had = pmem.load(ib, iw + I_BLOCKS);
    const error = this.allocateAll(ib, iw, first, end, zero, newSize, size);
    if (error < 0) quota?.giveBlocks(ib, iw, missing - (pmem.load(ib, iw + I_BLOCKS) - had));
    return error;
  }

  private allocateAll(
    ib: number,
    iw: number,
    first: number,
    end: number,
    zero: boolean,
    newSize: number,
    size: number,
  ): number {
    const { mapping } = this.core;
    let fileBlock = first;
    do {
      const stepEnd = Math.min(end, fileBlock + BLOCKS_PER_STEP);
      const isLast = stepEnd === end;
      // A block for each, and one for the tail of the old last block.
      const promised =
        stepEnd - fileBlock + 1 + mapping.nodesFor(fileBlock, Math.max(fileBlock, stepEnd - 1));
      const error = this.allocateStep(
        ib,
        iw,
        fileBlock,
        stepEnd,
        zero,
        promised,
        isLast ? newSize : -1,
        size,
      );
      if (error < 0) return error;
      fileBlock = stepEnd;
    } while (fileBlock < end);
    return 0;
  }

  private allocateStep(
    ib: number,
    iw: number,
    first: number,
    end: number,
    zero: boolean,
    promised: number,
    newSize: number,
    size: number,
  ): number {
    const { mapping, allocator, journal } = this.core;
    // Most of what is promised is not needed where blocks are already: ask again for less before giving up.
    if (!allocator.reserve(promised, false)) {
      let missing = 1;
      for (let fileBlock = first; fileBlock < end; fileBlock++) {
        if (mapping.lookup(ib, iw, fileBlock) < 0) break;
        if (mapping.block === 0 || (zero && allocator.references(mapping.block) > 1)) missing++;
      }
      if (!allocator.reserve(missing + mapping.nodesFor(first, end - 1), false)) return -ENOSPC;
    }
    this.data.beginStep();
    let error = newSize >= 0 ? this.data.zeroTail(ib, iw, size, newSize) : 0;
    let fileBlock = first;
    while (fileBlock < end && error === 0) {
      error = mapping.lookup(ib, iw, fileBlock);
      if (error < 0) break;
      const old = mapping.block;
      if (old !== 0) {
        if (zero) {
          if (allocator.references(old) > 1) {
            const block = allocator.takeRun(1, 0, fileBlock, false);
            error = block < 0 ? block : mapping.set(ib, iw, fileBlock, block, MAP_PRESENT | MAP_UNWRITTEN);
            mapping.drop(old);
          } else if ((mapping.flags & MAP_UNWRITTEN) === 0) {
            error = mapping.set(ib, iw, fileBlock, old, MAP_PRESENT | MAP_UNWRITTEN);
          }
        }
        fileBlock++;
        continue;
      }
      let run = 0;
      while (fileBlock + run < end && mapping.block === 0) {
        run += mapping.holeSpan;
        if (fileBlock + run < end && mapping.lookup(ib, iw, fileBlock + run) < 0) break;
      }
      run = Math.min(run, end - fileBlock);
      let goal = 0;
      if (fileBlock > 0 && mapping.lookup(ib, iw, fileBlock - 1) === 0 && mapping.block !== 0)
        goal = mapping.block + 1;
      const start = allocator.takeRun(
        run,
        goal,
        fileBlock,
        fileBlock + run > CHUNK_BLOCKS || run === CHUNK_BLOCKS,
      );
      if (start < 0) {
        error = start;
        break;
      }
      const got = allocator.runLength;
      error = mapping.setRun(ib, iw, fileBlock, start, got, MAP_PRESENT | MAP_UNWRITTEN);
      journal.add64(ib, iw + I_BLOCKS, got);
      fileBlock += got;
    }
    if (error < 0) return this.data.abandonStep(error);
    this.data.commitStep(ib, iw, newSize);
    return 0;
  }

  /** Zero bytes inside one block; a shared one is copied first. The caller has begun a step and promised a block. */
  private zeroInside(ib: number, iw: number, from: number, to: number): number {
    const { mapping, allocator, pmem } = this.core;
    const fileBlock = Math.floor(from / BLOCK_SIZE);
    const inBlock = from % BLOCK_SIZE;
    const error = mapping.lookup(ib, iw, fileBlock);
    if (error < 0) return error;
    const old = mapping.block;
    if (old === 0 || (mapping.flags & MAP_UNWRITTEN) !== 0) return 0;
    if ((mapping.flags & MAP_SHARED) === 0 || allocator.references(old) === 1) {
      pmem.zero(old, inBlock, to - from);
      return 0;
    }
    const block = allocator.takeRun(1, 0, fileBlock, false);
    if (block < 0) return block;
    pmem.copyBetween(block, 0, old, 0, BLOCK_SIZE);
    pmem.zero(block, inBlock, to - from);
    mapping.drop(old);
    return mapping.set(ib, iw, fileBlock, block, MAP_PRESENT);
  }

  private punch(ib: number, iw: number, from: number, to: number): number {
    const { mapping, allocator, journal } = this.core;
    const first = Math.ceil(from / BLOCK_SIZE);
    const end = Math.floor(to / BLOCK_SIZE);
    // What is kept of the blocks at its two edges, where other files have them too.
    if (!allocator.reserve(2, true)) return -ENOSPC;
    this.data.beginStep();
    let gone = 0;
    let error = 0;
    if (first > end) {
      error = this.zeroInside(ib, iw, from, to);
    } else {
      if (from % BLOCK_SIZE !== 0) error = this.zeroInside(ib, iw, from, first * BLOCK_SIZE);
      if (error === 0 && to % BLOCK_SIZE !== 0) error = this.zeroInside(ib, iw, end * BLOCK_SIZE, to);
      if (error === 0 && first < end) {
        gone = mapping.clearRange(ib, iw, first, end);
        if (gone < 0) error = gone;
        else if (gone > 0) journal.add64(ib, iw + I_BLOCKS, -gone);
      }
    }
    if (error < 0) return this.data.abandonStep(error);
    this.data.commitStep(ib, iw, -1);
    this.core.quota?.giveBlocks(ib, iw, gone);
    return 0;
  }

  private zeroRange(ib: number, iw: number, from: number, to: number, grow: boolean): number {
    const { allocator } = this.core;
    const first = Math.ceil(from / BLOCK_SIZE);
    const end = Math.floor(to / BLOCK_SIZE);
    // As in `punch`.
    if (!allocator.reserve(2, false)) return -ENOSPC;
    this.data.beginStep();
    let error = 0;
    if (first > end) {
      error = this.zeroInside(ib, iw, from, to);
    } else {
      if (from % BLOCK_SIZE !== 0) error = this.zeroInside(ib, iw, from, first * BLOCK_SIZE);
      if (error === 0 && to % BLOCK_SIZE !== 0) error = this.zeroInside(ib, iw, end * BLOCK_SIZE, to);
    }
    if (error < 0) return this.data.abandonStep(error);
    this.data.commitStep(ib, iw, -1);
    if (first < end) {
      error = this.allocate(ib, iw, first * BLOCK_SIZE, end * BLOCK_SIZE, false, true);
      if (error < 0) return error;
    }
    // The blocks at the edges, and the size.
    return this.allocate(ib, iw, from, to, grow, false);
  }

  private unshare(ib: number, iw: number, from: number, to: number): number {
    let fileBlock = Math.floor(from / BLOCK_SIZE);
    const end = Math.ceil(to / BLOCK_SIZE);
    const { mapping, allocator } = this.core;
    while (fileBlock < end) {
      const next = mapping.nextMapped(ib, iw, fileBlock, end);
      if (next < 0) return next;
      if (next >= end) break;
      if ((mapping.flags & MAP_UNWRITTEN) === 0 && allocator.references(mapping.block) > 1) {
        const done = this.data.allocateFor(ib, iw, next, 1);
        if (done < 0) return done;
      }
      fileBlock = next + 1;
    }
    return 0;
  }
}
