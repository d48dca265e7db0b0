// SPDX-License-Identifier: BSD-3-Clause

import type { Core } from './core.ts';
import type { Data } from './data.ts';
import { EFBIG, EINVAL, ENOSPC } from './errno.ts';
import {
  BLOCK_SIZE,
  I_BLOCKS,
  I_SIZE,
  MAP_ENTRIES,
  MAP_MAX_HEIGHT,
  MAP_NODE,
  MAP_SHIFT,
  MAX_FILE_BLOCKS,
  MAX_FILE_SIZE,
  TWO_32,
  X_MAP_HEIGHT,
  X_MAP_ROOT,
} from './format.ts';

/** Collapse and insert of a range: a new tree in place of the old one, by one transaction. */
export class Shift {
  private readonly core: Core;
  private readonly data: Data;
  // The tree that is built.
  private newRoot = 0;
  private newHeight = 0;
  private newNodes = 0;

  constructor(core: Core, data: Data) {
    this.core = core;
    this.data = data;
  }

  collapse(ib: number, iw: number, from: number, to: number): number {
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

  insert(ib: number, iw: number, from: number, to: number): number {
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
    this.core.quota?.giveBlocks(ib, iw, gone);
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
}
