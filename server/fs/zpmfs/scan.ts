// SPDX-License-Identifier: BSD-3-Clause

import {
  BLOCK_SIZE,
  BLOCK_WORDS,
  DIR_DEPTH_MASK,
  DIR_ENTRIES,
  DIR_KIND_MASK,
  DIR_LEAF,
  DIR_LEAF_MAGIC,
  DIR_MAX_LEVELS,
  DIR_NODE,
  DIR_SHIFT,
  DL_MAGIC,
  DL_OWNER,
  DL_RECORDS,
  DR_INO,
  DR_MIN_WORDS,
  DR_NAME,
  DR_SHAPE,
  I_BLOCKS,
  I_DIR_ROOT,
  I_INO,
  I_NLINK,
  I_SIZE,
  I_SYMLINK_DPP,
  INODE_IN_USE,
  INODES_PER_BLOCK,
  isValidMode,
  MAP_ENTRIES,
  MAP_LEAF_BITS,
  MAP_MAX_HEIGHT,
  MAP_NODE,
  MAP_PRESENT,
  MAP_SHARED,
  MAX_FILE_SIZE,
  ROOT_INODE,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SB_INODE_TABLE,
  SUPER_BLOCK,
  SYMLINK_INLINE_BYTES,
  SYMLINK_MAX_BYTES,
  TWO_32,
  X_ENTRIES,
  X_MAP_HEIGHT,
  X_MAP_ROOT,
  X_STATE,
  X_XATTR_BLOCK,
  X_XATTR_BLOCKS,
  X_XATTR_INLINE_BYTES,
  XATTR_BLOCK_BYTES,
  XATTR_INLINE_BYTES,
  XATTR_MAGIC,
  XB_BYTES,
  XB_MAGIC,
  XB_NEXT,
  XB_OWNER,
  xattrBlocksMax,
} from './format.ts';
import { slotWord } from './inodes.ts';
import type { Pmem } from './pmem.ts';
import {
  H_CHECK_LOCK,
  H_DAMAGED,
  H_FREE_INODES,
  H_INODE_BLOCKS,
  REF_MAX,
  REF_METADATA,
  REF_METADATA_UNSEEN,
  type SharedState,
} from './shared.ts';

/**
 * Walk inodes, check what they point to, and find out from it which blocks are in use: all of them at a mount after a
 * crash; each when it is first used, when the last unmount has said which blocks are in use. An inode that makes no
 * sense is marked damaged, so that no operation follows it; what it had claimed stays taken.
 */
export class Scanner {
  private readonly pmem: Pmem;
  private readonly shared: SharedState;
  /** Inodes in use without a link: what a crash left of unlinked open files. */
  readonly orphans: number[] = [];
  readonly damaged: { readonly index: number; readonly what: string }[] = [];
  private readonly inodeTableNodes: number[] = [];
  /** References are known already: what is claimed must be in use, and by nobody else. */
  known = false;

  constructor(pmem: Pmem, shared: SharedState) {
    this.pmem = pmem;
    this.shared = shared;
  }

  claimMetadata(block: number): boolean {
    if (!this.pmem.inRange(block)) return false;
    const expected = this.known ? REF_METADATA_UNSEEN : 0;
    return Atomics.compareExchange(this.shared.refs, block, expected, REF_METADATA) === expected;
  }

  private claimData(block: number, flags: number): boolean {
    if (!this.pmem.inRange(block)) return false;
    const { refs } = this.shared;
    for (;;) {
      const count = Atomics.load(refs, block);
      if (this.known) return count > 0 && count <= REF_MAX && (count === 1 || (flags & MAP_SHARED) !== 0);
      if (count > 0 && (count >= REF_MAX || (flags & MAP_SHARED) === 0)) return false;
      if (Atomics.compareExchange(refs, block, count, count + 1) === count) return true;
    }
  }

  /** Find the blocks of the inode table. Returns what is wrong with it, or null. */
  readInodeTable(): string | null {
    const { pmem, shared } = this;
    const root = pmem.load(SUPER_BLOCK, SB_INODE_TABLE + X_MAP_ROOT);
    const height = pmem.load(SUPER_BLOCK, SB_INODE_TABLE + X_MAP_HEIGHT);
    const size =
      pmem.load(SUPER_BLOCK, SB_INODE_TABLE + I_SIZE) +
      pmem.load(SUPER_BLOCK, SB_INODE_TABLE + I_SIZE + 1) * TWO_32;
    const blocks = size / BLOCK_SIZE;
    if (!Number.isInteger(blocks) || blocks === 0 || blocks > shared.inodeBlockMax)
      return 'inode table has an impossible size';
    if (height === 0 || height > MAP_MAX_HEIGHT) return 'inode table has no tree';
    const error = this.walkInodeTable(root, height, 0, blocks);
    if (error !== null) return error;
    for (let index = 0; index < blocks; index++) {
      if (shared.inodeBlocks[index] === 0) return `inode table lacks block ${index}`;
    }
    shared.header[H_INODE_BLOCKS] = blocks;
    return null;
  }

  private walkInodeTable(node: number, level: number, first: number, blocks: number): string | null {
    // As many nodes as a tree of so many blocks has: a tree that runs into itself would have more.
    if (!this.pmem.inRange(node) || this.inodeTableNodes.length > blocks + MAP_MAX_HEIGHT)
      return `inode table has a bad node at block ${node}`;
    this.inodeTableNodes.push(node);
    const span = MAP_ENTRIES ** (level - 1);
    for (let index = 0; index < MAP_ENTRIES; index++) {
      const tag = this.pmem.load(node, index * 2 + 1);
      if (tag === 0) continue;
      const child = this.pmem.load(node, index * 2);
      const at = first + index * span;
      if (at >= blocks) return 'inode table has blocks behind its end';
      if (level > 1) {
        if (tag !== MAP_NODE + level - 1) return `inode table has a bad entry in block ${node}`;
        const error = this.walkInodeTable(child, level - 1, at, blocks);
        if (error !== null) return error;
      } else {
        if (tag !== MAP_PRESENT || !this.pmem.inRange(child))
          return `inode table has a bad entry in block ${node}`;
        this.shared.inodeBlocks[at] = child;
      }
    }
    return null;
  }

  /** Mark the blocks that `readInodeTable` found; false when something else has one of them. */
  claimInodeTable(): boolean {
    const { inodeBlocks, header } = this.shared;
    for (const node of this.inodeTableNodes) if (!this.claimMetadata(node)) return false;
    for (let table = 0; table < header[H_INODE_BLOCKS]; table++)
      if (!this.claimMetadata(inodeBlocks[table])) return false;
    return true;
  }

  /** The inodes of blocks `first` up to `end` of the table. */
  scanInodes(first: number, end: number): void {
    const { pmem, shared } = this;
    let free = 0;
    for (let table = first; table < end; table++) {
      let bits = table === 0 ? 1 : 0;
      for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
        const index = table * INODES_PER_BLOCK + slot;
        const ib = shared.inodeBlocks[table];
        const state = pmem.load(ib, slotWord(index) + X_STATE);
        if (index === 0) continue;
        if (state === 0) {
          free++;
          continue;
        }
        bits |= 1 << slot;
        const what = state === INODE_IN_USE ? this.scanInode(index, ib, slotWord(index)) : 'state';
        if (what !== null) {
          bits |= 1 << (16 + slot);
          this.damaged.push({ index, what });
        } else if (pmem.load(ib, slotWord(index) + I_NLINK) === 0) {
          this.orphans.push(index);
        }
      }
      shared.inodeBits[table] = bits;
      shared.inodeChecked[table] = 0xffff;
    }
    Atomics.add(shared.header, H_FREE_INODES, free);
    Atomics.add(shared.header, H_DAMAGED, this.damaged.length);
  }

  /** An inode that is used for the first time since a mount that did not look at it. What is wrong with it, or null. */
  checkOnce(index: number, ib: number): string | null {
    const { shared } = this;
    const table = index >>> 4;
    const slot = index & 15;
    shared.lockWord(H_CHECK_LOCK);
    let what: string | null = null;
    if (((Atomics.load(shared.inodeChecked, table) >>> slot) & 1) === 0) {
      what = this.scanInode(index, ib, slotWord(index));
      if (what !== null) {
        Atomics.or(shared.inodeBits, table, 1 << (16 + slot));
        Atomics.add(shared.header, H_DAMAGED, 1);
      }
      Atomics.or(shared.inodeChecked, table, 1 << slot);
    }
    shared.unlockWord(H_CHECK_LOCK);
    return what;
  }

  /** What is wrong with an inode, or null. */
  private scanInode(index: number, ib: number, iw: number): string | null {
    const { pmem } = this;
    const mode = pmem.load(ib, iw) >>> 16;
    if (!isValidMode(mode)) return 'mode';
    if (pmem.load(ib, iw + I_INO) !== index || pmem.load(ib, iw + I_INO + 1) !== 0) return 'number';
    const size = pmem.load(ib, iw + I_SIZE) + pmem.load(ib, iw + I_SIZE + 1) * TWO_32;
    if (size > MAX_FILE_SIZE) return 'size';
    if (pmem.load(ib, iw + I_BLOCKS + 1) !== 0) return 'block count';
    // Neither the root nor what has names in it is ever without a link.
    const isLinked =
      pmem.load(ib, iw + I_NLINK) > 0 || (index !== ROOT_INODE && pmem.load(ib, iw + X_ENTRIES) === 0);
    if ((mode & S_IFMT) === S_IFDIR && !isLinked) return 'links';
    const xattrs = this.scanXattrs(index, ib, iw);
    if (xattrs !== null) return xattrs;
    const type = mode & S_IFMT;
    if (type === S_IFREG) {
      const height = pmem.load(ib, iw + X_MAP_HEIGHT);
      if (height === 0) return null;
      if (height > MAP_MAX_HEIGHT) return 'height of its tree';
      return this.scanMap(pmem.load(ib, iw + X_MAP_ROOT), height);
    }
    if (type === S_IFDIR) {
      const block = pmem.load(ib, iw + I_DIR_ROOT);
      const tag = pmem.load(ib, iw + I_DIR_ROOT + 1);
      if (block === 0 && tag === 0) return null;
      if ((tag & DIR_KIND_MASK) === DIR_LEAF && (tag & DIR_DEPTH_MASK) !== 0) return 'root of its tree';
      return this.scanDirectory(block, tag, index, 0);
    }
    if (type === S_IFLNK) {
      if (size === 0 || size > SYMLINK_MAX_BYTES) return 'size';
      if (size <= SYMLINK_INLINE_BYTES) return null;
      const dpp = pmem.load(ib, iw + I_SYMLINK_DPP) + pmem.load(ib, iw + I_SYMLINK_DPP + 1) * TWO_32;
      if (dpp % BLOCK_SIZE !== 0 || !this.claimMetadata(dpp / BLOCK_SIZE)) return 'place of its target';
    }
    return null;
  }

  private scanMap(node: number, level: number): string | null {
    if (!this.claimMetadata(node)) return `map node ${node}`;
    for (let index = 0; index < MAP_ENTRIES; index++) {
      const tag = this.pmem.load(node, index * 2 + 1);
      const child = this.pmem.load(node, index * 2);
      if (tag === 0) continue;
      if (level > 1) {
        if (tag !== MAP_NODE + level - 1) return `entry of map node ${node}`;
        const what = this.scanMap(child, level - 1);
        if (what !== null) return what;
      } else if ((tag & ~MAP_LEAF_BITS) !== 0 || (tag & MAP_PRESENT) === 0 || !this.claimData(child, tag)) {
        return `entry of map node ${node}`;
      }
    }
    return null;
  }

  private scanDirectory(block: number, tag: number, owner: number, levels: number): string | null {
    const kind = tag & DIR_KIND_MASK;
    if (!this.claimMetadata(block)) return `directory block ${block}`;
    if (kind === DIR_LEAF) return this.checkLeaf(block, owner);
    if (kind !== DIR_NODE || levels === DIR_MAX_LEVELS) return `directory block ${block}`;
    for (let slot = 0; slot < DIR_ENTRIES; ) {
      const child = this.pmem.load(block, slot * 2);
      const childTag = this.pmem.load(block, slot * 2 + 1);
      let slots = 1;
      if ((childTag & DIR_KIND_MASK) === DIR_LEAF) {
        const depth = childTag & DIR_DEPTH_MASK;
        if (depth > DIR_SHIFT) return `entry of directory node ${block}`;
        slots = DIR_ENTRIES >>> depth;
        if (slot % slots !== 0) return `entry of directory node ${block}`;
        for (let other = slot + 1; other < slot + slots; other++) {
          const same =
            this.pmem.load(block, other * 2) === child && this.pmem.load(block, other * 2 + 1) === childTag;
          if (!same) return `entry of directory node ${block}`;
        }
      }
      const what = this.scanDirectory(child, childTag, owner, levels + 1);
      if (what !== null) return what;
      slot += slots;
    }
    return null;
  }

  private checkLeaf(leaf: number, owner: number): string | null {
    const { pmem } = this;
    if (pmem.load(leaf, DL_MAGIC) !== DIR_LEAF_MAGIC || pmem.load(leaf, DL_OWNER) !== owner)
      return `directory leaf ${leaf}`;
    let at = DL_RECORDS;
    while (at < BLOCK_WORDS) {
      const shape = pmem.load(leaf, at + DR_SHAPE);
      const words = shape & 0xffff;
      const nameLength = (shape >>> 16) & 0xff;
      if (words < DR_MIN_WORDS || at + words > BLOCK_WORDS) return `record in directory leaf ${leaf}`;
      if (
        pmem.load(leaf, at + DR_INO) !== 0 &&
        (nameLength === 0 || DR_NAME + ((nameLength + 3) >>> 2) > words)
      ) {
        return `record in directory leaf ${leaf}`;
      }
      at += words;
    }
    return null;
  }

  private scanXattrs(index: number, ib: number, iw: number): string | null {
    const { pmem } = this;
    if (pmem.load(ib, iw + X_XATTR_INLINE_BYTES) > XATTR_INLINE_BYTES) return 'inline attributes';
    const count = pmem.load(ib, iw + X_XATTR_BLOCKS);
    let block = pmem.load(ib, iw + X_XATTR_BLOCK);
    if (count > xattrBlocksMax(index)) return 'attribute blocks';
    for (let number = 0; number < count; number++) {
      if (!this.claimMetadata(block)) return `attribute block ${block}`;
      const fits = pmem.load(block, XB_BYTES) <= XATTR_BLOCK_BYTES;
      if (pmem.load(block, XB_MAGIC) !== XATTR_MAGIC || pmem.load(block, XB_OWNER) !== index || !fits) {
        return `attribute block ${block}`;
      }
      block = pmem.load(block, XB_NEXT);
    }
    return block === 0 ? null : 'attribute blocks';
  }
}
