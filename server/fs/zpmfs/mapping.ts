// SPDX-License-Identifier: BSD-3-Clause

import { type Allocator, WINDOW_BLOCKS } from './allocator.ts';
import { EUCLEAN } from './errno.ts';
import {
  BLOCK_SIZE,
  MAP_ENTRIES,
  MAP_LEAF_BITS,
  MAP_MAX_HEIGHT,
  MAP_NODE,
  MAP_PRESENT,
  MAP_SHARED,
  MAP_SHIFT,
  MAP_UNWRITTEN,
  TWO_32,
  X_MAP_HEIGHT,
  X_MAP_ROOT,
} from './format.ts';
import type { Journal } from './journal.ts';
import type { Pmem } from './pmem.ts';

const FRESH_NODES = 8;
const DROP_MAX = 8192;

/** Entries of a node of level n+1 cover this many blocks each; level 5 would cover more than a file has. */
const SPAN = [1, 1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36];

/**
 * Where the blocks of a file are: a radix tree of 4 KiB nodes, 512 entries each, as high as the file needs.
 *
 * Changes are staged in the journal, except those of nodes made by the same transaction: nothing refers to these
 * before the commit, so they are written directly ("fresh").
 */
export class Mapping {
  private readonly pmem: Pmem;
  private readonly journal: Journal;
  private readonly allocator: Allocator;
  /** What `lookup` found: 0 for a hole. */
  block = 0;
  flags = 0;
  /** For a hole: how many blocks from the one asked for on are part of it for sure. */
  holeSpan = 1;
  /** Leaf that `lookup` went through; 0 when the tree has none there. */
  leaf = 0;
  private readonly fresh = new Uint32Array(FRESH_NODES);
  private freshCount = 0;
  private readonly dropped = new Uint32Array(DROP_MAX);
  private droppedCount = 0;
  private readonly cutNode = new Uint32Array(DROP_MAX);
  private readonly cutLevel = new Uint8Array(DROP_MAX);
  private cutCount = 0;

  constructor(pmem: Pmem, journal: Journal, allocator: Allocator) {
    this.pmem = pmem;
    this.journal = journal;
    this.allocator = allocator;
  }

  /** Find file block `fileBlock` of the inode at (`ib`, `iw`). Returns 0, or -EUCLEAN. */
  lookup(ib: number, iw: number, fileBlock: number): number {
    const journal = this.journal;
    this.block = 0;
    this.flags = 0;
    this.leaf = 0;
    this.holeSpan = 1;
    const height = journal.get(ib, iw + X_MAP_HEIGHT);
    if (height > MAP_MAX_HEIGHT) return -EUCLEAN;
    if (height === 0 || (height < MAP_MAX_HEIGHT && fileBlock >>> (MAP_SHIFT * height) !== 0)) {
      this.holeSpan = TWO_32 - fileBlock;
      return 0;
    }
    let node = journal.get(ib, iw + X_MAP_ROOT);
    for (let level = height; level > 1; level--) {
      if (!this.pmem.inRange(node)) return -EUCLEAN;
      const word = ((fileBlock >>> (MAP_SHIFT * (level - 1))) & (MAP_ENTRIES - 1)) * 2;
      const tag = journal.get(node, word + 1);
      if (tag === 0) {
        const span = SPAN[level];
        this.holeSpan = span - (fileBlock % span);
        return 0;
      }
      if (tag !== MAP_NODE + level - 1) return -EUCLEAN;
      node = journal.get(node, word);
    }
    if (!this.pmem.inRange(node)) return -EUCLEAN;
    this.leaf = node;
    const word = (fileBlock & (MAP_ENTRIES - 1)) * 2;
    const flags = journal.get(node, word + 1);
    if (flags === 0) return 0;
    const block = journal.get(node, word);
    if ((flags & ~MAP_LEAF_BITS) !== 0 || (flags & MAP_PRESENT) === 0 || !this.pmem.inRange(block))
      return -EUCLEAN;
    this.block = block;
    this.flags = flags;
    return 0;
  }

  /**
   * After `lookup` of a mapped block: how many file blocks from there on, at most `most`, lie one behind the other on the media
   * and are written or unwritten alike. Or -EUCLEAN.
   */
  runFrom(ib: number, iw: number, fileBlock: number, most: number): number {
    const { block, flags, journal } = this;
    const unwritten = flags & MAP_UNWRITTEN;
    let run = 1;
    while (run < most) {
      const at = fileBlock + run;
      const word = (at & (MAP_ENTRIES - 1)) * 2;
      let next = 0;
      let nextFlags = 0;
      if (word !== 0) {
        // Still in the leaf.
        next = journal.get(this.leaf, word);
        nextFlags = journal.get(this.leaf, word + 1);
        if (nextFlags !== 0 && ((nextFlags & ~MAP_LEAF_BITS) !== 0 || (nextFlags & MAP_PRESENT) === 0))
          return -EUCLEAN;
      } else {
        const error = this.lookup(ib, iw, at);
        if (error < 0) return error;
        next = this.block;
        nextFlags = this.flags;
      }
      if (nextFlags === 0 || next !== block + run || (nextFlags & MAP_UNWRITTEN) !== unwritten) break;
      run++;
    }
    return this.pmem.inRange(block + run - 1) ? run : -EUCLEAN;
  }

  /**
   * First mapped block at or behind `from` and before `end`; the result of `lookup` is then that of the block.
   * Returns `end` when there is none, or -EUCLEAN.
   */
  nextMapped(ib: number, iw: number, from: number, end: number): number {
    let fileBlock = from;
    while (fileBlock < end) {
      const error = this.lookup(ib, iw, fileBlock);
      if (error < 0) return error;
      if (this.block !== 0) return fileBlock;
      fileBlock += this.holeSpan;
    }
    return end;
  }

  /**
   * Where file block `fileBlock` had best lie: its place next to the nearest block of the same window of the file that is no
   * other file's too. 0 when there is none. To be asked after a `lookup` of that file block.
   */
  goalNear(fileBlock: number): number {
    const { leaf, journal, allocator } = this;
    if (leaf === 0) return 0;
    const inLeaf = fileBlock & (MAP_ENTRIES - 1);
    const first = inLeaf - (inLeaf % WINDOW_BLOCKS);
    for (let distance = 1; distance < WINDOW_BLOCKS; distance++) {
      for (let side = -1; side <= 1; side += 2) {
        const other = inLeaf + side * distance;
        if (other < first || other >= first + WINDOW_BLOCKS) continue;
        const flags = journal.get(leaf, other * 2 + 1);
        if ((flags & MAP_PRESENT) === 0) continue;
        const block = journal.get(leaf, other * 2);
        if ((flags & MAP_SHARED) !== 0 && allocator.references(block) > 1) continue;
        return Math.max(0, block - side * distance);
      }
    }
    return 0;
  }

  /**
   * At most this many nodes have to be made to map blocks `first` .. `last`: those that a tree has above these, and, for each level
   * that it grows by, one above its old root.
   */
  nodesFor(first: number, last: number): number {
    let nodes = MAP_MAX_HEIGHT;
    for (let shift = MAP_SHIFT; shift < 32; shift += MAP_SHIFT)
      nodes += (last >>> shift) - (first >>> shift) + 1;
    return nodes + 1;
  }

  /** Point a file block to a block. Takes promised blocks for nodes. Returns 0, -EUCLEAN, or why there is none to take. */
  set(ib: number, iw: number, fileBlock: number, block: number, flags: number): number {
    const leaf = this.ensureLeaf(ib, iw, fileBlock);
    if (leaf < 0) return leaf;
    this.put(leaf, fileBlock & (MAP_ENTRIES - 1), block, flags);
    return 0;
  }

  /** As `set`, for file blocks and blocks that follow each other. */
  setRun(ib: number, iw: number, fileBlock: number, block: number, count: number, flags: number): number {
    for (let done = 0; done < count; ) {
      const leaf = this.ensureLeaf(ib, iw, fileBlock + done);
      if (leaf < 0) return leaf;
      const first = (fileBlock + done) & (MAP_ENTRIES - 1);
      const end = Math.min(MAP_ENTRIES, first + count - done);
      for (let index = first; index < end; index++, done++) this.put(leaf, index, block + done, flags);
    }
    return 0;
  }

  private ensureLeaf(ib: number, iw: number, fileBlock: number): number {
    const journal = this.journal;
    let height = journal.get(ib, iw + X_MAP_HEIGHT);
    if (height > MAP_MAX_HEIGHT) return -EUCLEAN;
    let root = journal.get(ib, iw + X_MAP_ROOT);
    let needed = 1;
    while (needed < MAP_MAX_HEIGHT && fileBlock >>> (MAP_SHIFT * needed) !== 0) needed++;
    if (height === 0) {
      root = this.newNode();
      if (root < 0) return root;
      height = needed;
      journal.set(ib, iw + X_MAP_ROOT, root);
      journal.set(ib, iw + X_MAP_HEIGHT, height);
    } else if (height < needed) {
      while (height < needed) {
        const above = this.newNode();
        if (above < 0) return above;
        this.put(above, 0, root, MAP_NODE + height);
        root = above;
        height++;
      }
      journal.set(ib, iw + X_MAP_ROOT, root);
      journal.set(ib, iw + X_MAP_HEIGHT, height);
    }
    let node = root;
    for (let level = height; level > 1; level--) {
      if (!this.pmem.inRange(node)) return -EUCLEAN;
      const index = (fileBlock >>> (MAP_SHIFT * (level - 1))) & (MAP_ENTRIES - 1);
      const tag = journal.get(node, index * 2 + 1);
      if (tag === 0) {
        const below = this.newNode();
        if (below < 0) return below;
        this.put(node, index, below, MAP_NODE + level - 1);
        node = below;
      } else if (tag !== MAP_NODE + level - 1) {
        return -EUCLEAN;
      } else {
        node = journal.get(node, index * 2);
      }
    }
    return this.pmem.inRange(node) ? node : -EUCLEAN;
  }

  private newNode(): number {
    const node = this.allocator.takeMetadata();
    if (node < 0) return node;
    this.pmem.zero(node, 0, BLOCK_SIZE);
    if (this.freshCount === FRESH_NODES) {
      // The one not used for longest is full, or nearly: what it still gets goes through the journal.
      this.freshCount--;
      this.pmem.writeBack(this.fresh[this.freshCount], 0, BLOCK_SIZE);
    }
    for (let index = this.freshCount; index > 0; index--) this.fresh[index] = this.fresh[index - 1];
    this.fresh[0] = node;
    this.freshCount++;
    return node;
  }

  private isFresh(node: number): boolean {
    for (let index = 0; index < this.freshCount; index++) {
      if (this.fresh[index] !== node) continue;
      for (let other = index; other > 0; other--) this.fresh[other] = this.fresh[other - 1];
      this.fresh[0] = node;
      return true;
    }
    return false;
  }

  private put(node: number, index: number, block: number, tag: number): void {
    if (this.freshCount > 0 && this.isFresh(node)) {
      this.pmem.store(node, index * 2, block);
      this.pmem.store(node, index * 2 + 1, tag);
    } else {
      this.journal.set(node, index * 2, block);
      this.journal.set(node, index * 2 + 1, tag);
    }
  }

  /** Before the commit: write back the nodes this transaction made. */
  flushFresh(): void {
    for (let index = 0; index < this.freshCount; index++)
      this.pmem.writeBack(this.fresh[index], 0, BLOCK_SIZE);
    this.freshCount = 0;
  }

  /** Start of a transaction that may call `clearRange` or `drop`. */
  begin(): void {
    this.droppedCount = 0;
    this.cutCount = 0;
    this.freshCount = 0;
  }

  /** Note a data block whose last staged reference is gone; `releaseCleared` frees it. */
  drop(block: number): void {
    this.dropped[this.droppedCount++] = block;
  }

  /** Room for more `drop` calls in this transaction. */
  dropRoom(): number {
    return DROP_MAX - this.droppedCount;
  }

  /**
   * Stage the removal of all blocks from `first` up to `end`, which is not included. Returns how many data blocks go,
   * or -EUCLEAN. After the commit, call `releaseCleared`.
   */
  clearRange(ib: number, iw: number, first: number, end: number): number {
    const journal = this.journal;
    const height = journal.get(ib, iw + X_MAP_HEIGHT);
    if (height > MAP_MAX_HEIGHT) return -EUCLEAN;
    if (height === 0 || first >= end) return 0;
    const root = journal.get(ib, iw + X_MAP_ROOT);
    if (!this.pmem.inRange(root)) return -EUCLEAN;
    const covered = height === MAP_MAX_HEIGHT ? TWO_32 : SPAN[height + 1];
    if (first === 0 && end >= covered) {
      const count = this.countSubtree(root, height);
      if (count < 0) return count;
      this.cut(root, height);
      journal.set(ib, iw + X_MAP_ROOT, 0);
      journal.set(ib, iw + X_MAP_HEIGHT, 0);
      return count;
    }
    if (first >= covered) return 0;
    const count = this.clearNode(root, height, 0, first, Math.min(end, covered));
    if (count > 0) this.lowerTree(ib, iw, root, height);
    return count;
  }

  /**
   * Note that all of a file's blocks go with its inode, which the caller frees: the inode's words stay as they are. Returns 0 or
   * -EUCLEAN. After the commit, call `releaseCleared`.
   */
  cutAll(ib: number, iw: number): number {
    const height = this.journal.get(ib, iw + X_MAP_HEIGHT);
    if (height > MAP_MAX_HEIGHT) return -EUCLEAN;
    if (height === 0) return 0;
    const root = this.journal.get(ib, iw + X_MAP_ROOT);
    if (!this.pmem.inRange(root)) return -EUCLEAN;
    const count = this.countSubtree(root, height);
    if (count < 0) return count;
    this.cut(root, height);
    return 0;
  }

  /** Stage a tree as low as what is left in it needs. */
  private lowerTree(ib: number, iw: number, root: number, height: number): void {
    const journal = this.journal;
    let top = root;
    let level = height;
    for (; level > 0; level--) {
      const used = this.lastEntry(top);
      if (used > 0) break;
      if (used < 0) {
        this.cut(top, level);
        top = 0;
        level = 0;
        break;
      }
      if (level === 1) break;
      const below = journal.get(top, 0);
      // Without its entry, so that what is below is not freed with it.
      this.put(top, 0, 0, 0);
      this.cut(top, level);
      top = below;
    }
    if (top === root) return;
    journal.set(ib, iw + X_MAP_ROOT, top);
    journal.set(ib, iw + X_MAP_HEIGHT, level);
  }

  /** Index of the last entry of a node that leads somewhere; -1 when it is empty. */
  private lastEntry(node: number): number {
    let index = MAP_ENTRIES - 1;
    while (index >= 0 && this.journal.get(node, index * 2 + 1) === 0) index--;
    return index;
  }

  private cut(node: number, level: number): void {
    this.cutNode[this.cutCount] = node;
    this.cutLevel[this.cutCount] = level;
    this.cutCount++;
  }

  private clearNode(node: number, level: number, nodeFirst: number, first: number, end: number): number {
    const journal = this.journal;
    const span = SPAN[level];
    const from = first <= nodeFirst ? 0 : Math.floor((first - nodeFirst) / span);
    const to = Math.min(MAP_ENTRIES, Math.ceil((end - nodeFirst) / span));
    let count = 0;
    let zeroFrom = -1;
    for (let index = from; index < to; index++) {
      const tag = journal.get(node, index * 2 + 1);
      if (tag === 0) continue;
      const child = journal.get(node, index * 2);
      if (!this.pmem.inRange(child)) return -EUCLEAN;
      if (level === 1) {
        if ((tag & ~MAP_LEAF_BITS) !== 0) return -EUCLEAN;
        this.drop(child);
        count++;
      } else {
        if (tag !== MAP_NODE + level - 1) return -EUCLEAN;
        const childFirst = nodeFirst + index * span;
        if (childFirst < first || childFirst + span > end) {
          // Only part of what it covers goes: it stays, and so does its entry here.
          if (zeroFrom >= 0) this.zeroEntries(node, zeroFrom, index);
          zeroFrom = -1;
          const inside = this.clearNode(child, level - 1, childFirst, first, end);
          if (inside < 0) return inside;
          count += inside;
          if (inside === 0 || this.lastEntry(child) >= 0) continue;
          // The part was all it had.
          this.cut(child, level - 1);
          if (zeroFrom < 0) zeroFrom = index;
          continue;
        }
        const inside = this.countSubtree(child, level - 1);
        if (inside < 0) return inside;
        count += inside;
        this.cut(child, level - 1);
      }
      if (zeroFrom < 0) zeroFrom = index;
      // Entries between two that go are zero already: writing them again makes one record of the whole.
      else if (index - zeroFrom > MAP_ENTRIES) zeroFrom = index;
    }
    if (zeroFrom >= 0) this.zeroEntries(node, zeroFrom, to);
    return count;
  }

  private zeroEntries(node: number, from: number, to: number): void {
    let last = to - 1;
    while (last > from && this.journal.get(node, last * 2 + 1) === 0) last--;
    for (let index = from; index <= last; index++) this.put(node, index, 0, 0);
  }

  /** Data blocks below a node, or -EUCLEAN. */
  private countSubtree(node: number, level: number): number {
    const journal = this.journal;
    let count = 0;
    for (let index = 0; index < MAP_ENTRIES; index++) {
      const tag = journal.get(node, index * 2 + 1);
      if (tag === 0) continue;
      const child = journal.get(node, index * 2);
      if (!this.pmem.inRange(child)) return -EUCLEAN;
      if (level === 1) {
        if ((tag & ~MAP_LEAF_BITS) !== 0) return -EUCLEAN;
        count++;
      } else {
        if (tag !== MAP_NODE + level - 1) return -EUCLEAN;
        const inside = this.countSubtree(child, level - 1);
        if (inside < 0) return inside;
        count += inside;
      }
    }
    return count;
  }

  /** After the commit: what `clearRange` and `drop` took off the media is free now. */
  releaseCleared(): void {
    for (let index = 0; index < this.droppedCount; index++) this.allocator.drop(this.dropped[index]);
    for (let index = 0; index < this.cutCount; index++)
      this.releaseSubtree(this.cutNode[index], this.cutLevel[index]);
    this.droppedCount = 0;
    this.cutCount = 0;
  }

  /** `clearRange` has checked all that is below. */
  private releaseSubtree(node: number, level: number): void {
    const pmem = this.pmem;
    for (let index = 0; index < MAP_ENTRIES; index++) {
      if (pmem.load(node, index * 2 + 1) === 0) continue;
      const child = pmem.load(node, index * 2);
      if (level === 1) this.allocator.drop(child);
      else this.releaseSubtree(child, level - 1);
    }
    this.allocator.release(node);
  }
}
