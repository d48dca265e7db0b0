// SPDX-License-Identifier: BSD-3-Clause

import { FLAG, zufs_ioc_IO } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import { WINDOW_BLOCKS } from './allocator.ts';
import type { Core } from './core.ts';
import { EDQUOT, EFBIG, EINVAL, ENOSPC } from './errno.ts';
import {
  BLOCK_SIZE,
  I_BLOCKS,
  I_SIZE,
  MAP_PRESENT,
  MAP_SHARED,
  MAP_UNWRITTEN,
  MAX_FILE_SIZE,
  TWO_32,
} from './format.ts';
import { CHANGES, InodeInHand, READS } from './in-hand.ts';
import { CHUNK_BLOCKS } from './shared.ts';

/** Blocks that one transaction maps at most: its words fit the journal in the worst case. */
export const BLOCKS_PER_STEP = 1024;

/** So many blocks at once get a chunk of their own: what is free of one that small files share is in pieces. */
const LARGE_RUN = 256;

/** Blocks are given ahead of the end of a file while there are this many times as many. */
const AHEAD_SHARE = 16;

/** What a block of the range is to a writer. */
export const IN_PLACE = 0;
const HOLE = 1;
const UNWRITTEN = 2;
const COPY = 3;

/** Contents of regular files: read, write and size. */
export class Data {
  private readonly core: Core;
  private readonly inode: InodeInHand;
  /** Whether the last `writeRange` put blocks where none, or others, were. */
  replaced = false;
  /**
   * Where the bytes of the write at hand come from, minus its position; 0: zeroes. Kept here because an address as a
   * number on its way through a call would become an object on the heap.
   */
  private readonly source = new Float64Array(1);
  /** Where the bytes of the read at hand go, minus its position; here for the same reason. */
  private readonly destination = new Float64Array(1);

  constructor(core: Core) {
    this.core = core;
    this.inode = new InodeInHand(core);
  }

  // --- read ---

  read(op: Operation): number {
    const core = this.core;
    const opened = this.inode.openFile(op, zufs_ioc_IO.zus_ii, READS);
    if (opened < 0) return opened;
    const { index, ib, iw } = this.inode;
    const position = core.u64(op, zufs_ioc_IO.filepos);
    const length = core.windowLength(op);
    if (position + length > MAX_FILE_SIZE) return -EINVAL;
    this.destination[0] = op.windowAddress + core.windowOffset(op) - position;
    core.shared.lockShared(index);
    const error = this.readRange(ib, iw, position, length);
    core.shared.unlockShared(index);
    if (error < 0) return error;
    core.setU64(op, zufs_ioc_IO.last_pos, position + length);
    return 0;
  }

  private readRange(ib: number, iw: number, position: number, length: number): number {
    const { mapping, pmem } = this.core;
    const end = position + length;
    let at = position;
    while (at < end) {
      const fileBlock = Math.floor(at / BLOCK_SIZE);
      const inBlock = at % BLOCK_SIZE;
      const error = mapping.lookup(ib, iw, fileBlock);
      if (error < 0) return error;
      let piece = BLOCK_SIZE - inBlock;
      if (mapping.block === 0 || (mapping.flags & MAP_UNWRITTEN) !== 0) {
        if (mapping.block === 0) piece = mapping.holeSpan * BLOCK_SIZE - inBlock;
        if (piece > end - at) piece = end - at;
        pmem.addon.zero(this.destination[0] + at, piece);
      } else {
        // Neighbours on the media go in one copy.
        const start = mapping.block;
        if (piece < end - at) {
          const run = mapping.runFrom(ib, iw, fileBlock, Math.ceil((inBlock + end - at) / BLOCK_SIZE));
          if (run < 0) return run;
          piece = run * BLOCK_SIZE - inBlock;
        }
        if (piece > end - at) piece = end - at;
        pmem.copyOut(this.destination[0] + at, start, inBlock, piece);
      }
      at += piece;
    }
    return 0;
  }

  // --- write ---

  write(op: Operation): number {
    const core = this.core;
    const opened = this.inode.openFile(op, zufs_ioc_IO.zus_ii, CHANGES);
    if (opened < 0) return opened;
    const { index, ib, iw } = this.inode;
    const position = core.u64(op, zufs_ioc_IO.filepos);
    let length = core.windowLength(op);
    if (position >= MAX_FILE_SIZE) return -EFBIG;
    if (position + length > MAX_FILE_SIZE) length = MAX_FILE_SIZE - position;
    this.source[0] = op.windowAddress + core.windowOffset(op) - position;
    core.shared.lockExclusive(index);
    const done = length === 0 ? 0 : this.writeRange(ib, iw, position, length);
    core.shared.unlockExclusive(index);
    if (done < 0) return done;
    core.setU64(op, zufs_ioc_IO.last_pos, position + done);
    if (this.replaced) core.setU32(op, zufs_ioc_IO.ret_flags, FLAG.ZUFS_RET_NEW);
    return 0;
  }

  /** What the block at `fileBlock` is to a writer (`mapping` has its place), or -EUCLEAN. */
  kindOf(ib: number, iw: number, fileBlock: number): number {
    const { mapping, allocator } = this.core;
    const error = mapping.lookup(ib, iw, fileBlock);
    if (error < 0) return error;
    if (mapping.block === 0) return HOLE;
    if ((mapping.flags & MAP_SHARED) !== 0 && allocator.references(mapping.block) > 1) {
      return (mapping.flags & MAP_UNWRITTEN) !== 0 ? HOLE : COPY;
    }
    return (mapping.flags & MAP_UNWRITTEN) !== 0 ? UNWRITTEN : IN_PLACE;
  }

  /** Say where the bytes for the next `writeRange` come from: `address` is that of the one for `position`. */
  setSource(address: number, position: number): void {
    this.source[0] = address - position;
  }

  /**
   * Write bytes from the memory that `setSource` named to a file, whose lock the caller holds. Writes less when there is not
   * room for all. Durable on return. Returns the bytes written, or -ENOSPC, -EDQUOT, -EUCLEAN.
   */
  writeRange(ib: number, iw: number, position: number, wanted: number): number {
    const { mapping, allocator, pmem, quota } = this.core;
    this.replaced = false;
    let length = Math.min(wanted, BLOCKS_PER_STEP * BLOCK_SIZE - (position % BLOCK_SIZE));
    const first = Math.floor(position / BLOCK_SIZE);
    const size = this.core.size(ib, iw);
    let last = 0;
    let more = 0;
    let copies = 0;
    let changes = false;
    for (;;) {
      last = Math.floor((position + length - 1) / BLOCK_SIZE);
      more = 0;
      copies = 0;
      changes = false;
      for (let fileBlock = first; fileBlock <= last; fileBlock++) {
        const kind = this.kindOf(ib, iw, fileBlock);
        if (kind < 0) return kind;
        if (kind === IN_PLACE) continue;
        changes = true;
        if (kind === HOLE && mapping.block === 0) {
          const span = Math.min(mapping.holeSpan, last - fileBlock + 1);
          more += span;
          fileBlock += span - 1;
        } else if (kind !== UNWRITTEN) {
          copies++;
        }
      }
      let needed = more + copies;
      // The tail of the old last block may have to be copied before it can be zeroed.
      if (position > size && size % BLOCK_SIZE !== 0) needed++;
      if (needed === 0) break;
      // What is copied is there twice for a moment.
      if (quota !== null && quota.takeBlocks(ib, iw, more + copies) < 0) {
        length = this.lengthWithin(ib, iw, position, length, quota.room(ib, iw, more + copies - 1));
        if (length <= 0) return length < 0 ? length : -EDQUOT;
        continue;
      }
      if (allocator.reserve(needed + mapping.nodesFor(first, last), false)) break;
      quota?.giveBlocks(ib, iw, more + copies);
      const blocks = last - first + 1;
      if (blocks === 1) return -ENOSPC;
      length = (first + Math.floor(blocks / 2)) * BLOCK_SIZE - position;
    }
    const end = position + length;
    if (!changes && end <= size) {
      // Of one block it is known where it is.
      if (first === last)
        pmem.copyIn(mapping.block, position % BLOCK_SIZE, this.source[0] + position, length);
      else {
        const error = this.copyInPlace(ib, iw, position, end);
        if (error < 0) return error;
      }
      // The times, which the kernel has stored, wait for fsync(2), as they do when it writes to blocks that it knows.
      pmem.fence();
      return length;
    }
    this.beginStep();
    let error = position > size ? this.zeroBehind(ib, iw, size, position) : 0;
    if (error === 0) error = this.fillRange(ib, iw, position, end);
    if (error < 0) {
      quota?.giveBlocks(ib, iw, more + copies);
      return this.abandonStep(error);
    }
    this.commitStep(ib, iw, end > size ? end : -1);
    quota?.giveBlocks(ib, iw, copies);
    return length;
  }

  /** How many of the bytes from `position` on can be written with `room` new blocks, or -EUCLEAN. */
  private lengthWithin(ib: number, iw: number, position: number, length: number, room: number): number {
    const first = Math.floor(position / BLOCK_SIZE);
    const end = Math.ceil((position + length) / BLOCK_SIZE);
    let left = room;
    let fileBlock = first;
    for (; fileBlock < end; fileBlock++) {
      const kind = this.kindOf(ib, iw, fileBlock);
      if (kind < 0) return kind;
      if (kind !== IN_PLACE && kind !== UNWRITTEN && left-- === 0) break;
    }
    return Math.max(0, Math.min(position + length, fileBlock * BLOCK_SIZE) - position);
  }

  /** Start a transaction on the mapping of a file; the caller has promised what it may take. */
  beginStep(): void {
    this.core.journal.begin();
    this.core.mapping.begin();
  }

  /** It fails with `error` before anything refers to what it took. Returns `error`. */
  abandonStep(error: number): number {
    this.core.journal.abort();
    this.core.allocator.abandon();
    return error;
  }

  /**
   * Commit a transaction on the mapping of a file: new size (-1: as it is), blocks, times. What it replaced is freed,
   * and what it did not take of what it was promised is given back.
   */
  commitStep(ib: number, iw: number, size: number): void {
    const { mapping, allocator, journal, pmem } = this.core;
    mapping.flushFresh();
    pmem.writeBack(ib, iw * 4, 64);
    if (size >= 0) {
      const high = Math.floor(size / TWO_32);
      if (journal.isEmpty() && pmem.load(ib, iw + I_SIZE + 1) === high) {
        // One word changes, and one word is stored as a whole or not at all.
        pmem.fence();
        pmem.store(ib, iw + I_SIZE, size >>> 0);
        pmem.writeBack(ib, (iw + I_SIZE) * 4, 4);
        pmem.fence();
        allocator.unreserve();
        return;
      }
      journal.set64(ib, iw + I_SIZE, size);
    }
    journal.commit();
    mapping.releaseCleared();
    allocator.unreserve();
  }

  private copyInPlace(ib: number, iw: number, position: number, end: number): number {
    const { mapping, pmem } = this.core;
    let at = position;
    while (at < end) {
      const fileBlock = Math.floor(at / BLOCK_SIZE);
      const inBlock = at % BLOCK_SIZE;
      const error = mapping.lookup(ib, iw, fileBlock);
      if (error < 0) return error;
      const start = mapping.block;
      const run = mapping.runFrom(ib, iw, fileBlock, Math.ceil((inBlock + end - at) / BLOCK_SIZE));
      if (run < 0) return run;
      const piece = Math.min(run * BLOCK_SIZE - inBlock, end - at);
      pmem.copyIn(start, inBlock, this.source[0] + at, piece);
      at += piece;
    }
    return 0;
  }

  /** Where the block behind the one of `fileBlock - 1` is; 0 when that is a hole. */
  private goalFor(ib: number, iw: number, fileBlock: number): number {
    if (fileBlock === 0) return 0;
    const { mapping } = this.core;
    if (mapping.lookup(ib, iw, fileBlock - 1) < 0 || mapping.block === 0) return 0;
    return mapping.block + 1;
  }

  /** Take blocks for a hole from `fileBlock` on, up to `last`. */
  private takeForHole(ib: number, iw: number, fileBlock: number, last: number): number {
    const { mapping, allocator } = this.core;
    const near = mapping.goalNear(fileBlock);
    const run = this.holeRun(ib, iw, fileBlock, last);
    const goal = this.goalFor(ib, iw, fileBlock);
    // Here and there in a file, not one block behind the other.
    if (goal === 0 && run < WINDOW_BLOCKS && (near > 0 || fileBlock >= WINDOW_BLOCKS))
      return allocator.takeNear(run, near, fileBlock);
    const large = fileBlock + run > CHUNK_BLOCKS || run >= LARGE_RUN;
    return allocator.takeRun(run, goal, fileBlock, large);
  }

  /** Take a block in the place of one that others have too. */
  private takeForCopy(ib: number, iw: number, fileBlock: number): number {
    const { mapping, allocator } = this.core;
    const near = mapping.goalNear(fileBlock);
    // A window would be wasted on a file that does not fill it.
    return near > 0 || this.core.size(ib, iw) > WINDOW_BLOCKS * BLOCK_SIZE
      ? allocator.takeNear(1, near, fileBlock)
      : allocator.takeRun(1, this.goalFor(ib, iw, fileBlock), fileBlock, false);
  }

  /** How many blocks from `fileBlock` to `last` are holes without a break; at least the first one is. */
  private holeRun(ib: number, iw: number, fileBlock: number, last: number): number {
    const { mapping } = this.core;
    let run = 0;
    while (fileBlock + run <= last) {
      if (mapping.lookup(ib, iw, fileBlock + run) < 0 || mapping.block !== 0) break;
      run += mapping.holeSpan;
    }
    return Math.min(run, last - fileBlock + 1);
  }

  /**
   * Put bytes of [position, end) in blocks of every kind and stage the mapping. Without a source: zeroes instead, and
   * existing blocks stay as they are. What of a new block lies outside of the range gets zeroed, or copied.
   */
  private fillRange(ib: number, iw: number, position: number, end: number): number {
    const { mapping, allocator, journal, pmem } = this.core;
    const last = Math.floor((end - 1) / BLOCK_SIZE);
    let fileBlock = Math.floor(position / BLOCK_SIZE);
    while (fileBlock <= last) {
      const kind = this.kindOf(ib, iw, fileBlock);
      if (kind < 0) return kind;
      const from = Math.max(position, fileBlock * BLOCK_SIZE);
      const inBlock = from % BLOCK_SIZE;
      const old = mapping.block;
      if (kind === HOLE && old === 0) {
        const start = this.takeForHole(ib, iw, fileBlock, last);
        if (start < 0) return start;
        const got = allocator.runLength;
        this.replaced = true;
        const to = Math.min(end, (fileBlock + got) * BLOCK_SIZE);
        this.fillNew(start, inBlock, to - from, got * BLOCK_SIZE, from);
        const error = mapping.setRun(ib, iw, fileBlock, start, got, MAP_PRESENT);
        if (error < 0) return error;
        journal.add64(ib, iw + I_BLOCKS, got);
        fileBlock += got;
        continue;
      }
      const to = Math.min(end, (fileBlock + 1) * BLOCK_SIZE);
      if (kind === IN_PLACE) {
        if (this.source[0] !== 0) pmem.copyIn(old, inBlock, this.source[0] + from, to - from);
      } else if (kind === UNWRITTEN) {
        this.fillNew(old, inBlock, to - from, BLOCK_SIZE, from);
        const error = mapping.set(ib, iw, fileBlock, old, MAP_PRESENT);
        if (error < 0) return error;
        this.replaced = true;
      } else {
        // Shared with another file: that one keeps the old block.
        const block = this.takeForCopy(ib, iw, fileBlock);
        if (block < 0) return block;
        this.replaced = true;
        if (kind === HOLE) {
          this.fillNew(block, inBlock, to - from, BLOCK_SIZE, from);
        } else if (this.source[0] === 0) {
          pmem.copyBetween(block, 0, old, 0, BLOCK_SIZE);
        } else {
          if (inBlock > 0) pmem.copyBetween(block, 0, old, 0, inBlock);
          pmem.copyIn(block, inBlock, this.source[0] + from, to - from);
          const behind = inBlock + (to - from);
          if (behind < BLOCK_SIZE) pmem.copyBetween(block, behind, old, behind, BLOCK_SIZE - behind);
        }
        const error = mapping.set(ib, iw, fileBlock, block, MAP_PRESENT);
        if (error < 0) return error;
        mapping.drop(old);
      }
      fileBlock++;
    }
    return 0;
  }

  /** Fill a run of blocks that nobody reads yet: zeroes before and behind the data. */
  private fillNew(start: number, inBlock: number, length: number, total: number, from: number): void {
    const pmem = this.core.pmem;
    if (this.source[0] === 0) {
      pmem.zero(start, 0, total);
      return;
    }
    if (inBlock > 0) pmem.zero(start, 0, inBlock);
    pmem.copyIn(start, inBlock, this.source[0] + from, length);
    const behind = inBlock + length;
    if (behind < total) pmem.zero(start, behind, total - behind);
  }

  /**
   * A file is about to grow from `size` to `until`, by something else than data: what blocks behind its last one hold must read as
   * zeroes. Those are blocks given ahead, whose writer was cut off before the size said so. Returns 0 or -EUCLEAN.
   */
  zeroAhead(ib: number, iw: number, size: number, until: number): number {
    const { mapping, pmem } = this.core;
    const end = Math.ceil(until / BLOCK_SIZE);
    let fileBlock = Math.ceil(size / BLOCK_SIZE);
    while (fileBlock < end) {
      const next = mapping.nextMapped(ib, iw, fileBlock, end);
      if (next < 0) return next;
      if (next < end && (mapping.flags & MAP_UNWRITTEN) === 0) pmem.zero(mapping.block, 0, BLOCK_SIZE);
      fileBlock = next + 1;
    }
    return 0;
  }

  /** As `zeroTail`, and all behind that block. */
  zeroBehind(ib: number, iw: number, size: number, until: number): number {
    const error = this.zeroAhead(ib, iw, size, until);
    return error < 0 ? error : this.zeroTail(ib, iw, size, until);
  }

  /**
   * A file grows from `size` to at least `until`: what its last block holds behind the old end must read as zeroes.
   * The caller has begun a transaction and promised a block. Returns 0, -EUCLEAN, or why there is no block to take.
   */
  zeroTail(ib: number, iw: number, size: number, until: number): number {
    const { mapping, allocator, pmem } = this.core;
    const inBlock = size % BLOCK_SIZE;
    if (inBlock === 0) return 0;
    const fileBlock = Math.floor(size / BLOCK_SIZE);
    const kind = this.kindOf(ib, iw, fileBlock);
    if (kind < 0) return kind;
    const old = mapping.block;
    const to = Math.min(BLOCK_SIZE, inBlock + (until - size));
    if (kind === IN_PLACE) {
      pmem.zero(old, inBlock, to - inBlock);
    } else if (kind === COPY) {
      const block = allocator.takeRun(1, 0, fileBlock, false);
      if (block < 0) return block;
      this.replaced = true;
      pmem.copyBetween(block, 0, old, 0, inBlock);
      pmem.zero(block, inBlock, BLOCK_SIZE - inBlock);
      const error = mapping.set(ib, iw, fileBlock, block, MAP_PRESENT);
      if (error < 0) return error;
      mapping.drop(old);
    }
    return 0;
  }

  // --- size ---

  /** Set the size of a file; the caller holds its lock. Returns 0, -ENOSPC, -EFBIG or -EUCLEAN. */
  setSize(ib: number, iw: number, size: number): number {
    const { mapping, allocator, journal, pmem } = this.core;
    if (size > MAX_FILE_SIZE) return -EFBIG;
    const old = this.core.size(ib, iw);
    // What is kept of a last block that another file has too.
    if (!allocator.reserve(1, true)) return -ENOSPC;
    this.beginStep();
    let gone = 0;
    let error = 0;
    if (size > old) {
      error = this.zeroBehind(ib, iw, old, size);
    } else {
      gone = mapping.clearRange(ib, iw, Math.ceil(size / BLOCK_SIZE), TWO_32);
      if (gone < 0) error = gone;
      else if (gone > 0) journal.add64(ib, iw + I_BLOCKS, -gone);
      // The new last block is copied now when it is shared, and zeroed in place only once the size is down.
      if (error === 0 && size % BLOCK_SIZE !== 0) {
        const kind = this.kindOf(ib, iw, Math.floor(size / BLOCK_SIZE));
        if (kind < 0) error = kind;
        else if (kind === COPY) error = this.zeroTail(ib, iw, size, TWO_32 * BLOCK_SIZE);
      }
    }
    if (error < 0) return this.abandonStep(error);
    this.commitStep(ib, iw, size === old ? -1 : size);
    this.core.quota?.giveBlocks(ib, iw, gone);
    if (size < old && size % BLOCK_SIZE !== 0) {
      const kind = this.kindOf(ib, iw, Math.floor(size / BLOCK_SIZE));
      if (kind === IN_PLACE) {
        pmem.zero(mapping.block, size % BLOCK_SIZE, BLOCK_SIZE - (size % BLOCK_SIZE));
        pmem.fence();
      }
    }
    return 0;
  }

  // --- blocks ahead of the end of a file ---

  /** As `allocateFor`, for who will append: as many as `roomAhead` has. Returns how many, or an error. */
  allocateAhead(ib: number, iw: number, first: number, wanted: number): number {
    const count = this.roomAhead(ib, iw, first, wanted);
    if (count <= 0) return count < 0 ? count : -ENOSPC;
    return this.allocateFor(ib, iw, first, count);
  }

  /**
   * How many blocks from `first` on a file may be given ahead of its end: as far as there are none, or some that were given before a
   * crash; and only while there are many times as many, since others may need them before they are used or given back.
   */
  private roomAhead(ib: number, iw: number, first: number, wanted: number): number {
    const { mapping, allocator, quota } = this.core;
    let count = 0;
    while (count < wanted) {
      const kind = this.kindOf(ib, iw, first + count);
      if (kind < 0) return kind;
      if (mapping.block !== 0 && kind !== IN_PLACE) break;
      count += mapping.block === 0 ? mapping.holeSpan : 1;
    }
    count = Math.min(count, wanted);
    const plenty = count * AHEAD_SHARE;
    if (allocator.availableForData() < plenty) return 0;
    return quota === null || quota.room(ib, iw, plenty) === plenty ? count : 0;
  }

  // --- blocks to store to ---

  /** Make blocks writable in place: own ones, zeroed where there were none. Returns for how many it could, or an error. */
  allocateFor(ib: number, iw: number, first: number, wanted: number): number {
    const { mapping, allocator, quota } = this.core;
    this.replaced = false;
    let count = wanted;
    let copies = 0;
    let needed = 0;
    for (;;) {
      needed = 0;
      copies = 0;
      let changes = false;
      for (let fileBlock = first; fileBlock < first + count; fileBlock++) {
        const kind = this.kindOf(ib, iw, fileBlock);
        if (kind < 0) return kind;
        if (kind === IN_PLACE) continue;
        changes = true;
        if (kind !== UNWRITTEN) needed++;
        if (mapping.block !== 0 && kind !== UNWRITTEN) copies++;
      }
      if (!changes) return count;
      const refused = quota === null ? 0 : quota.takeBlocks(ib, iw, needed);
      if (refused === 0) {
        if (needed === 0) break;
        if (allocator.reserve(needed + mapping.nodesFor(first, first + count - 1), false)) break;
        quota?.giveBlocks(ib, iw, needed);
      }
      if (count === 1) return refused < 0 ? refused : -ENOSPC;
      count = Math.floor(count / 2);
    }
    this.beginStep();
    this.source[0] = 0;
    const error = this.fillRange(ib, iw, first * BLOCK_SIZE, (first + count) * BLOCK_SIZE);
    if (error < 0) {
      quota?.giveBlocks(ib, iw, needed);
      return this.abandonStep(error);
    }
    this.commitStep(ib, iw, -1);
    quota?.giveBlocks(ib, iw, copies);
    return count;
  }
}
