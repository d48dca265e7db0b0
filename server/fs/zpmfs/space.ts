// SPDX-License-Identifier: BSD-3-Clause

import { FLAG, zufs_ioc_fiemap, zufs_ioc_IO, zufs_ioc_seek } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { BLOCKS_PER_STEP, type Data } from './data.ts';
import { EFBIG, EINVAL, ENOSPC, ENXIO, EOPNOTSUPP } from './errno.ts';
import {
  BLOCK_SIZE,
  I_BLOCKS,
  I_SIZE,
  MAP_ENTRIES,
  MAP_MAX_HEIGHT,
  MAP_NODE,
  MAP_PRESENT,
  MAP_SHARED,
  MAP_SHIFT,
  MAP_UNWRITTEN,
  MAX_FILE_BLOCKS,
  MAX_FILE_SIZE,
  TWO_32,
  X_MAP_HEIGHT,
  X_MAP_ROOT,
} from './format.ts';
import { CHANGES, InodeInHand, READS } from './in-hand.ts';
import { CHUNK_BLOCKS } from './shared.ts';

const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const COLLAPSE_RANGE = 8;
const ZERO_RANGE = 16;
const INSERT_RANGE = 32;
const UNSHARE_RANGE = 64;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

const FIEMAP_EXTENT_LAST = 0x1;
const FIEMAP_EXTENT_UNWRITTEN = 0x800;
const FIEMAP_EXTENT_SHARED = 0x2000;
const FIEMAP_EXTENT_BYTES = 56;

/** Which blocks a file has: fallocate in all its modes, truncate, and the questions lseek and fiemap ask. */
export class Space {
  private readonly core: Core;
  private readonly inode: InodeInHand;
  private readonly data: Data;
  // The tree that `shift` builds.
  private newRoot = 0;
  private newHeight = 0;
  private newNodes = 0;

  constructor(core: Core, data: Data) {
    this.core = core;
    this.inode = new InodeInHand(core);
    this.data = data;
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
    else if (to <= from) error = -EINVAL;
    else if (to > MAX_FILE_SIZE) error = -EFBIG;
    else error = this.change(ib, iw, mode, from, to);
    core.shared.unlockExclusive(index);
    return error;
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
        return this.collapse(ib, iw, from, to);
      case INSERT_RANGE:
        return this.insert(ib, iw, from, to);
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
    let fileBlock = first;
    do {
      const stepEnd = Math.min(end, fileBlock + BLOCKS_PER_STEP);
      const isLast = stepEnd === end;
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
    let take = promised;
    if (!allocator.reserve(take, false)) {
      let missing = 1;
      for (let fileBlock = first; fileBlock < end; fileBlock++) {
        if (mapping.lookup(ib, iw, fileBlock) < 0) break;
        if (mapping.block === 0 || (zero && allocator.references(mapping.block) > 1)) missing++;
      }
      take = missing + mapping.nodesFor(first, end - 1);
      if (!allocator.reserve(take, false)) return -ENOSPC;
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
            this.data.countTaken(1);
            error = mapping.set(ib, iw, fileBlock, block, MAP_PRESENT | MAP_UNWRITTEN);
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
      const got = allocator.runLength;
      this.data.countTaken(got);
      error = mapping.setRun(ib, iw, fileBlock, start, got, MAP_PRESENT | MAP_UNWRITTEN);
      journal.add64(ib, iw + I_BLOCKS, got);
      fileBlock += got;
    }
    if (error < 0) {
      journal.abort();
      return error;
    }
    this.data.commitStep(ib, iw, newSize, take);
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
    this.data.countTaken(1);
    pmem.copyBetween(block, 0, old, 0, BLOCK_SIZE);
    pmem.zero(block, inBlock, to - from);
    mapping.drop(old);
    return mapping.set(ib, iw, fileBlock, block, MAP_PRESENT);
  }

  private punch(ib: number, iw: number, from: number, to: number): number {
    const { mapping, allocator, journal } = this.core;
    const first = Math.ceil(from / BLOCK_SIZE);
    const end = Math.floor(to / BLOCK_SIZE);
    if (!allocator.reserve(2, true)) return -ENOSPC;
    this.data.beginStep();
    let error = 0;
    if (first > end) {
      error = this.zeroInside(ib, iw, from, to);
    } else {
      if (from % BLOCK_SIZE !== 0) error = this.zeroInside(ib, iw, from, first * BLOCK_SIZE);
      if (error === 0 && to % BLOCK_SIZE !== 0) error = this.zeroInside(ib, iw, end * BLOCK_SIZE, to);
      if (error === 0 && first < end) {
        const gone = mapping.clearRange(ib, iw, first, end);
        if (gone < 0) error = gone;
        else if (gone > 0) journal.add64(ib, iw + I_BLOCKS, -gone);
      }
    }
    if (error < 0) {
      journal.abort();
      return error;
    }
    this.data.commitStep(ib, iw, -1, 2);
    return 0;
  }

  private zeroRange(ib: number, iw: number, from: number, to: number, grow: boolean): number {
    const { allocator, journal } = this.core;
    const first = Math.ceil(from / BLOCK_SIZE);
    const end = Math.floor(to / BLOCK_SIZE);
    if (!allocator.reserve(2, false)) return -ENOSPC;
    this.data.beginStep();
    let error = 0;
    if (first > end) {
      error = this.zeroInside(ib, iw, from, to);
    } else {
      if (from % BLOCK_SIZE !== 0) error = this.zeroInside(ib, iw, from, first * BLOCK_SIZE);
      if (error === 0 && to % BLOCK_SIZE !== 0) error = this.zeroInside(ib, iw, end * BLOCK_SIZE, to);
    }
    if (error < 0) {
      journal.abort();
      return error;
    }
    this.data.commitStep(ib, iw, -1, 2);
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

  // --- collapse and insert: a new tree in place of the old one, by one transaction ---

  private collapse(ib: number, iw: number, from: number, to: number): number {
    const size = this.core.size(ib, iw);
    if (from % BLOCK_SIZE !== 0 || to % BLOCK_SIZE !== 0 || to >= size) return -EINVAL;
    return this.shift(
      ib,
      iw,
      from / BLOCK_SIZE,
      to / BLOCK_SIZE,
      (from - to) / BLOCK_SIZE,
      size - (to - from),
    );
  }

  private insert(ib: number, iw: number, from: number, to: number): number {
    const size = this.core.size(ib, iw);
    if (from % BLOCK_SIZE !== 0 || to % BLOCK_SIZE !== 0 || from >= size) return -EINVAL;
    if (size + (to - from) > MAX_FILE_SIZE) return -EFBIG;
    const first = from / BLOCK_SIZE;
    return this.shift(ib, iw, first, first, (to - from) / BLOCK_SIZE, size + (to - from));
  }

  /** Blocks below `first` stay, those up to `end` go, those from `end` on move by `delta`. */
  private shift(ib: number, iw: number, first: number, end: number, delta: number, size: number): number {
    const { mapping, allocator, journal } = this.core;
    // As many nodes as the new tree can have: one leaf for every leaf touched, twice when a shift splits it.
    let leaves = 0;
    for (let fileBlock = 0; ; ) {
      const next = mapping.nextMapped(ib, iw, fileBlock, TWO_32);
      if (next < 0) return next;
      if (next >= TWO_32) break;
      leaves++;
      fileBlock = (Math.floor(next / MAP_ENTRIES) + 1) * MAP_ENTRIES;
    }
    const promised = leaves * 2 * 2 + MAP_MAX_HEIGHT * 3;
    if (!allocator.reserve(promised, false)) return -ENOSPC;
    this.newRoot = 0;
    this.newHeight = 0;
    this.newNodes = 0;
    let gone = 0;
    this.data.beginStep();
    for (let fileBlock = 0; ; ) {
      const next = mapping.nextMapped(ib, iw, fileBlock, TWO_32);
      if (next < 0) return next;
      if (next >= TWO_32) break;
      if (next < first) this.place(next, mapping.block, mapping.flags);
      else if (next >= end) {
        // Allocated far behind the end, it would move out of what a file can have.
        if (next + delta >= MAX_FILE_BLOCKS) return this.abandonShift(promised);
        this.place(next + delta, mapping.block, mapping.flags);
      } else gone++;
      fileBlock = next + 1;
    }
    if (this.newRoot !== 0) this.writeBackTree(this.newRoot, this.newHeight);
    const oldRoot = journal.get(ib, iw + X_MAP_ROOT);
    const oldHeight = journal.get(ib, iw + X_MAP_HEIGHT);
    journal.set(ib, iw + X_MAP_ROOT, this.newRoot);
    journal.set(ib, iw + X_MAP_HEIGHT, this.newHeight);
    if (gone > 0) journal.add64(ib, iw + I_BLOCKS, -gone);
    journal.set64(ib, iw + I_SIZE, size);
    this.core.pmem.writeBack(ib, iw * 4, 64);
    journal.commit();
    allocator.unreserve(promised - this.newNodes);
    if (oldHeight > 0) this.releaseOldTree(oldRoot, oldHeight, 0, first, end);
    return 0;
  }

  /** Nothing refers to the new tree yet: its nodes just become free again. */
  private abandonShift(promised: number): number {
    const { allocator, journal } = this.core;
    journal.abort();
    allocator.unreserve(promised - this.newNodes);
    if (this.newRoot !== 0) this.releaseOldTree(this.newRoot, this.newHeight, 0, 0, 0);
    return -EFBIG;
  }

  private newNode(): number {
    const node = this.core.allocator.takeMetadata();
    this.newNodes++;
    this.core.pmem.zero(node, 0, BLOCK_SIZE);
    return node;
  }

  private place(fileBlock: number, block: number, flags: number): void {
    const pmem = this.core.pmem;
    let needed = 1;
    while (needed < MAP_MAX_HEIGHT && fileBlock >>> (MAP_SHIFT * needed) !== 0) needed++;
    if (this.newHeight === 0) {
      this.newRoot = this.newNode();
      this.newHeight = needed;
    }
    while (this.newHeight < needed) {
      const above = this.newNode();
      pmem.store(above, 0, this.newRoot);
      pmem.store(above, 1, MAP_NODE + this.newHeight);
      this.newRoot = above;
      this.newHeight++;
    }
    let node = this.newRoot;
    for (let level = this.newHeight; level > 1; level--) {
      const word = ((fileBlock >>> (MAP_SHIFT * (level - 1))) & (MAP_ENTRIES - 1)) * 2;
      let below = pmem.load(node, word);
      if (below === 0) {
        below = this.newNode();
        pmem.store(node, word, below);
        pmem.store(node, word + 1, MAP_NODE + level - 1);
      }
      node = below;
    }
    const word = (fileBlock & (MAP_ENTRIES - 1)) * 2;
    pmem.store(node, word, block);
    pmem.store(node, word + 1, flags);
  }

  private writeBackTree(node: number, level: number): void {
    const pmem = this.core.pmem;
    pmem.writeBack(node, 0, BLOCK_SIZE);
    if (level === 1) return;
    for (let index = 0; index < MAP_ENTRIES; index++) {
      const child = pmem.load(node, index * 2);
      if (child !== 0) this.writeBackTree(child, level - 1);
    }
  }

  /** Free the nodes of a replaced tree, and the data blocks of [first, end). */
  private releaseOldTree(node: number, level: number, nodeFirst: number, first: number, end: number): void {
    const { pmem, allocator } = this.core;
    const span = 2 ** (MAP_SHIFT * (level - 1));
    for (let index = 0; index < MAP_ENTRIES; index++) {
      if (pmem.load(node, index * 2 + 1) === 0) continue;
      const child = pmem.load(node, index * 2);
      const at = nodeFirst + index * span;
      if (level > 1) this.releaseOldTree(child, level - 1, at, first, end);
      else if (at >= first && at < end) allocator.drop(child);
    }
    allocator.release(node);
  }

  // --- questions ---

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
    const { index, ib, iw } = this.inode;
    const start = core.u64(op, zufs_ioc_fiemap.start);
    const length = core.u64(op, zufs_ioc_fiemap.length);
    const asked = core.u32(op, zufs_ioc_fiemap.extents_max);
    const max = Math.min(asked, Math.floor(core.windowLength(op) / FIEMAP_EXTENT_BYTES));
    const end = Math.min(TWO_32, Math.ceil((start + length) / BLOCK_SIZE));
    core.shared.lockShared(index);
    const count = this.listExtents(op, ib, iw, Math.floor(start / BLOCK_SIZE), end, asked === 0 ? 0 : max);
    core.shared.unlockShared(index);
    if (count < 0) return count;
    core.setU32(op, zufs_ioc_fiemap.extents_mapped, count);
    return 0;
  }

  /** Fill in extents, or only count them when `max` is 0. */
  private listExtents(
    op: Operation,
    ib: number,
    iw: number,
    first: number,
    end: number,
    max: number,
  ): number {
    const { mapping, allocator } = this.core;
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
