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
    const nodes = this.countNodes(ib, iw, first, end, delta);
    if (nodes < 0) return nodes;
    if (!allocator.reserve(nodes, false)) return -ENOSPC;
    this.newRoot = 0;
    this.newHeight = 0;
    let gone = 0;
    this.data.beginStep();
    for (let fileBlock = 0; ; ) {
      const next = mapping.nextMapped(ib, iw, fileBlock, TWO_32);
      if (next < 0) return this.abandonShift(next);
      if (next >= TWO_32) break;
      let error = 0;
      if (next < first) error = this.place(next, mapping.block, mapping.flags);
      else if (next >= end) error = this.place(next + delta, mapping.block, mapping.flags);
      else gone++;
      if (error < 0) return this.abandonShift(error);
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
    allocator.unreserve();
    if (oldHeight > 0) this.releaseOldTree(oldRoot, oldHeight, 0, first, end);
    this.core.quota?.giveBlocks(ib, iw, gone);
    return 0;
  }

  /**
   * How many nodes `shift` makes, exactly. Returns -EFBIG when a block that was allocated far behind the end would move out of what a
   * file can have, or -EUCLEAN.
   *
   * The blocks come in the order of their new places, so that a level has as many nodes as there are places below another node of it
   * than the place before. `place` makes each of them once: for the first place below it, or on top of a tree that grows, and then
   * the first place of all is below it.
   */
  private countNodes(ib: number, iw: number, first: number, end: number, delta: number): number {
    const { mapping } = this.core;
    let nodes = 0;
    let last = -1;
    for (let from = 0; ; ) {
      const next = mapping.nextMapped(ib, iw, from, TWO_32);
      if (next < 0) return next;
      if (next >= TWO_32) break;
      if (next >= first && next < end) {
        from = end;
        continue;
      }
      const moved = next < first ? 0 : delta;
      const place = next + moved;
      if (place >= MAX_FILE_BLOCKS) return -EFBIG;
      for (let level = 1; level < MAP_MAX_HEIGHT; level++)
        if (last < 0 || !sameNode(place, last, level)) nodes++;
      last = place;
      // What else moves to the same leaf adds nothing, but may be too far.
      const leafEnd = (Math.floor(place / MAP_ENTRIES) + 1) * MAP_ENTRIES;
      from = Math.min(leafEnd, MAX_FILE_BLOCKS) - moved;
      if (next < first) from = Math.min(from, first);
    }
    // The highest level has one. Of the levels above the root, which have one each, none is made.
    return nodes === 0 ? 0 : nodes + 1 - (MAP_MAX_HEIGHT - heightFor(last));
  }

  /** Nothing refers to the new tree yet: its nodes just become free again. Returns `error`. */
  private abandonShift(error: number): number {
    this.data.abandonStep(error);
    if (this.newRoot !== 0) this.releaseOldTree(this.newRoot, this.newHeight, 0, 0, 0);
    return error;
  }

  private newNode(): number {
    const node = this.core.allocator.takeMetadata();
    if (node < 0) return node;
    this.core.pmem.zero(node, 0, BLOCK_SIZE);
    return node;
  }

  /** Point a file block of the new tree to a block. Returns 0, or why there was no block to take for a node. */
  private place(fileBlock: number, block: number, flags: number): number {
    const pmem = this.core.pmem;
    const needed = heightFor(fileBlock);
    if (this.newHeight === 0) {
      const root = this.newNode();
      if (root < 0) return root;
      this.newRoot = root;
      this.newHeight = needed;
    }
    while (this.newHeight < needed) {
      const above = this.newNode();
      if (above < 0) return above;
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
        if (below < 0) return below;
        pmem.store(node, word, below);
        pmem.store(node, word + 1, MAP_NODE + level - 1);
      }
      node = below;
    }
    const word = (fileBlock & (MAP_ENTRIES - 1)) * 2;
    pmem.store(node, word, block);
    pmem.store(node, word + 1, flags);
    return 0;
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

/** Levels of a tree that has this file block. */
function heightFor(fileBlock: number): number {
  let height = 1;
  while (height < MAP_MAX_HEIGHT && fileBlock >>> (MAP_SHIFT * height) !== 0) height++;
  return height;
}

/** Whether two file blocks are below one node of a level. */
function sameNode(a: number, b: number, level: number): boolean {
  return a >>> (MAP_SHIFT * level) === b >>> (MAP_SHIFT * level);
}
