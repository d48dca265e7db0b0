// SPDX-License-Identifier: BSD-3-Clause

import type { Allocator } from './allocator.ts';
import { EDQUOT, ENOSPC, EUCLEAN } from './errno.ts';
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
  DR_HASH,
  DR_INO,
  DR_MIN_WORDS,
  DR_NAME,
  DR_SHAPE,
  DR_TIE,
  I_BLOCKS,
  I_DIR_ROOT,
  I_SIZE,
  TWO_32,
  X_XATTR_BLOCKS,
} from './format.ts';
import type { Journal } from './journal.ts';
import type { Pmem } from './pmem.ts';
import type { Quota } from './quota.ts';

/** Records of one leaf at most. */
const LEAF_RECORDS_MAX = Math.ceil((BLOCK_WORDS - DL_RECORDS) / DR_MIN_WORDS);

/** Hash of a name, signed, seeded so that names that fall together cannot be prepared. */
export function hashName(bytes: Uint8Array, start: number, length: number, seed: number): number {
  let hash = seed | 0;
  for (let index = start; index < start + length; index++) {
    hash = Math.imul(hash ^ bytes[index], 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash ^ length, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function recordWords(nameLength: number): number {
  return DR_NAME + ((nameLength + 3) >>> 2);
}

/**
 * Names of a directory: leaves of packed records, found through a tree over the bits of the name's hash, high bits
 * first. A node has 512 entries (9 bits); a leaf of depth d is pointed to by 512 >> d neighbouring entries, and splits
 * in two when it is full. So the tree is in hash order, and hash and tie number of a record make a position that no
 * split moves.
 *
 * The VFS keeps changes of one directory apart from one another and from readers.
 */
export class Directory {
  private readonly pmem: Pmem;
  private readonly journal: Journal;
  private readonly allocator: Allocator;
  private readonly quota: Quota | null;
  private readonly seed: number;
  // What `descend` found.
  /** Entry that points to the leaf: its block (the inode's when there is no node), and the first word of it. */
  private parentBlock = 0;
  private parentWord = 0;
  private parentIsInode = true;
  /** First of the entries that point to the leaf. */
  private firstSlot = 0;
  private depth = 0;
  /** Nodes above the leaf. */
  private levels = 0;
  /** Hashes that the leaf is responsible for: from here, so many. */
  private hashFirst = 0;
  private hashSpan = TWO_32;
  // What `find` found.
  leaf = 0;
  record = 0;
  /** The record in front of it in the leaf; 0: it is the first. */
  previous = 0;
  ino = 0;
  type = 0;
  // What `findRoom` found for a name that is not there.
  private roomHash = 0;
  /** The leaf it belongs to; 0 when there is none yet. */
  private roomLeaf = 0;
  /** Smallest free record of it that the name fits in, and its words; 0 when there is none. */
  private roomRecord = 0;
  private roomWords = 0;
  /** Words of all its free records. */
  private roomFree = 0;
  private roomTie = 0;
  // What `clear` took.
  private clearedRoot = 0;
  private clearedTag = 0;
  private clearedBlocks = 0;
  // Scratch for readdir and splits.
  private readonly recordAt = new Uint16Array(LEAF_RECORDS_MAX + 1);

  constructor(pmem: Pmem, journal: Journal, allocator: Allocator, quota: Quota | null, seed: number) {
    this.pmem = pmem;
    this.journal = journal;
    this.allocator = allocator;
    this.quota = quota;
    this.seed = seed;
  }

  /** As a signed number: larger ones would be objects on the heap. */
  hash(bytes: Uint8Array, start: number, length: number): number {
    return hashName(bytes, start, length, this.seed);
  }

  /** Find the leaf for a hash. Returns its block, 0 when the directory has no tree yet, or -EUCLEAN. */
  private descend(ib: number, iw: number, owner: number, hash: number): number {
    const journal = this.journal;
    this.parentBlock = ib;
    this.parentWord = iw + I_DIR_ROOT;
    this.parentIsInode = true;
    this.firstSlot = 0;
    this.levels = 0;
    this.hashFirst = 0;
    this.hashSpan = TWO_32;
    let block = journal.get(ib, iw + I_DIR_ROOT);
    let tag = journal.get(ib, iw + I_DIR_ROOT + 1);
    if (tag === 0 && block === 0) return 0;
    while ((tag & DIR_KIND_MASK) === DIR_NODE) {
      if (!this.pmem.inRange(block) || this.levels === DIR_MAX_LEVELS) return -EUCLEAN;
      const shift = 32 - DIR_SHIFT * (this.levels + 1);
      const slot = (hash >>> shift) & (DIR_ENTRIES - 1);
      this.parentBlock = block;
      this.parentIsInode = false;
      this.parentWord = slot * 2;
      this.firstSlot = slot;
      this.levels++;
      this.hashSpan = 2 ** shift;
      const node = block;
      block = journal.get(node, slot * 2);
      tag = journal.get(node, slot * 2 + 1);
    }
    if ((tag & DIR_KIND_MASK) !== DIR_LEAF || !this.pmem.inRange(block)) return -EUCLEAN;
    this.depth = tag & DIR_DEPTH_MASK;
    if (this.parentIsInode) {
      if (this.depth !== 0) return -EUCLEAN;
    } else {
      if (this.depth > DIR_SHIFT) return -EUCLEAN;
      const slots = DIR_ENTRIES >>> this.depth;
      this.firstSlot &= ~(slots - 1);
      this.hashSpan *= slots;
    }
    this.hashFirst = Math.floor((hash >>> 0) / this.hashSpan) * this.hashSpan;
    if (journal.get(block, DL_MAGIC) !== DIR_LEAF_MAGIC || journal.get(block, DL_OWNER) !== owner)
      return -EUCLEAN;
    return block;
  }

  /** Length in words of the record at `at`, or -EUCLEAN when the leaf makes no sense there. */
  private checkRecord(leaf: number, at: number): number {
    const shape = this.journal.get(leaf, at + DR_SHAPE);
    const words = shape & 0xffff;
    if (words < DR_MIN_WORDS || at + words > BLOCK_WORDS) return -EUCLEAN;
    if (this.journal.get(leaf, at + DR_INO) !== 0) {
      const nameLength = (shape >>> 16) & 0xff;
      if (nameLength === 0 || recordWords(nameLength) > words) return -EUCLEAN;
    }
    return words;
  }

  /**
   * Look a name up. Returns 1 when found (`leaf`, `record`, `ino`, `type`), 0 when not, or -EUCLEAN.
   * `bytes` holds the name from `start`.
   */
  find(ib: number, iw: number, owner: number, bytes: Uint8Array, start: number, length: number): number {
    const hash = this.hash(bytes, start, length);
    const leaf = this.descend(ib, iw, owner, hash);
    if (leaf <= 0) return leaf;
    // Straight from the media: nothing is staged while names are looked up.
    const words = this.pmem.u32;
    const end = (leaf + 1) * BLOCK_WORDS;
    let previous = 0;
    for (let at = leaf * BLOCK_WORDS + DL_RECORDS; at < end; ) {
      const shape = words[at + DR_SHAPE];
      const recordLength = shape & 0xffff;
      if (recordLength < DR_MIN_WORDS || at + recordLength > end) return -EUCLEAN;
      if (
        (words[at + DR_HASH] | 0) === hash &&
        words[at + DR_INO] !== 0 &&
        ((shape >>> 16) & 0xff) === length
      ) {
        const record = at - leaf * BLOCK_WORDS;
        if (recordWords(length) > recordLength) return -EUCLEAN;
        if (this.nameEquals(leaf, record, bytes, start, length)) {
          this.leaf = leaf;
          this.record = record;
          this.previous = previous;
          this.ino = words[at + DR_INO];
          this.type = shape >>> 24;
          return 1;
        }
      }
      previous = at - leaf * BLOCK_WORDS;
      at += recordLength;
    }
    return 0;
  }

  /**
   * As `find`, for a name that is to be added: when it is not there, what `makeRoom` and `insert` have to know is found
   * in the same go. Nothing may change the directory until then.
   */
  findRoom(ib: number, iw: number, owner: number, bytes: Uint8Array, start: number, length: number): number {
    this.roomHash = this.hash(bytes, start, length);
    return this.scanForRoom(ib, iw, owner, bytes, start, length);
  }

  private scanForRoom(
    ib: number,
    iw: number,
    owner: number,
    bytes: Uint8Array,
    start: number,
    length: number,
  ): number {
    const hash = this.roomHash;
    const needed = recordWords(length);
    const leaf = this.descend(ib, iw, owner, hash);
    this.roomRecord = 0;
    this.roomWords = 0;
    this.roomFree = 0;
    this.roomTie = 0;
    if (leaf < 0) return leaf;
    this.roomLeaf = leaf;
    if (leaf === 0) return 0;
    const words = this.pmem.u32;
    const base = leaf * BLOCK_WORDS;
    for (let record = DL_RECORDS; record < BLOCK_WORDS; ) {
      const at = base + record;
      const shape = words[at + DR_SHAPE];
      const recordLength = shape & 0xffff;
      if (recordLength < DR_MIN_WORDS || record + recordLength > BLOCK_WORDS) return -EUCLEAN;
      if (words[at + DR_INO] === 0) {
        this.roomFree += recordLength;
        if (recordLength >= needed && (this.roomRecord === 0 || recordLength < this.roomWords)) {
          this.roomRecord = record;
          this.roomWords = recordLength;
        }
      } else {
        const nameLength = (shape >>> 16) & 0xff;
        if (nameLength === 0 || recordWords(nameLength) > recordLength) return -EUCLEAN;
        if ((words[at + DR_HASH] | 0) === hash) {
          if (nameLength === length && this.nameEquals(leaf, record, bytes, start, length)) {
            this.leaf = leaf;
            this.record = record;
            this.ino = words[at + DR_INO];
            this.type = shape >>> 24;
            return 1;
          }
          const other = words[at + DR_TIE] + 1;
          if (other > this.roomTie) this.roomTie = other;
        }
      }
      record += recordLength;
    }
    return 0;
  }

  private nameEquals(leaf: number, at: number, bytes: Uint8Array, start: number, length: number): boolean {
    const media = this.pmem.u8;
    const from = leaf * BLOCK_SIZE + (at + DR_NAME) * 4;
    for (let index = 0; index < length; index++) {
      if (media[from + index] !== bytes[start + index]) return false;
    }
    return true;
  }

  /**
   * Before the transaction of the operation itself: make sure that the leaf for the name of `findRoom` has room for it, in
   * transactions of its own that change nothing to see, and before it is promised blocks. Returns 0, -ENOSPC, -EDQUOT or -EUCLEAN.
   */
  makeRoom(ib: number, iw: number, owner: number, bytes: Uint8Array, start: number, length: number): number {
    // Every turn splits a leaf or packs one; there are no more bits to split by than this.
    for (let turn = 0; turn < DIR_SHIFT * DIR_MAX_LEVELS + 3; turn++) {
      if (this.roomRecord !== 0) return 0;
      const leaf = this.roomLeaf;
      const packing = this.roomFree >= recordWords(length) + DR_MIN_WORDS;
      let error = 0;
      if (leaf === 0) error = this.makeFirstLeaf(ib, iw, owner);
      else error = this.rewrite(ib, iw, owner, leaf, !packing);
      if (error === 0) error = this.scanForRoom(ib, iw, owner, bytes, start, length);
      if (error !== 0) return error < 0 ? error : -EUCLEAN;
    }
    return -ENOSPC;
  }

  /** It is charged to nobody: see `Quota`. */
  private makeFirstLeaf(ib: number, iw: number, owner: number): number {
    if (!this.allocator.reserve(1, false)) return -ENOSPC;
    const leaf = this.allocator.takeMetadata();
    if (leaf < 0) return leaf;
    this.formatLeaf(leaf, owner);
    this.finishLeaf(leaf, DL_RECORDS);
    this.journal.begin();
    this.journal.set(ib, iw + I_DIR_ROOT, leaf);
    this.journal.set(ib, iw + I_DIR_ROOT + 1, DIR_LEAF);
    this.addBlocks(ib, iw, 1);
    this.journal.commit();
    return 0;
  }

  /** A directory's size is that of its blocks. */
  private addBlocks(ib: number, iw: number, delta: number): void {
    this.journal.add64(ib, iw + I_BLOCKS, delta);
    this.journal.add64(ib, iw + I_SIZE, delta * BLOCK_SIZE);
  }

  private formatLeaf(leaf: number, owner: number): void {
    this.pmem.zero(leaf, 0, BLOCK_SIZE);
    this.pmem.store(leaf, DL_MAGIC, DIR_LEAF_MAGIC);
    this.pmem.store(leaf, DL_OWNER, owner);
  }

  /** Turn the rest of a leaf that nothing points to yet into one free record, and write the leaf back. */
  private finishLeaf(leaf: number, used: number): void {
    if (used < BLOCK_WORDS) this.pmem.store(leaf, used + DR_SHAPE, BLOCK_WORDS - used);
    this.pmem.writeBack(leaf, 0, BLOCK_SIZE);
  }

  /**
   * Write the live records of a leaf to one new leaf (packed) or two (split by the next bit of the hash), and put
   * these in its place. Returns 0, -ENOSPC, -EDQUOT or -EUCLEAN.
   */
  private rewrite(ib: number, iw: number, owner: number, leaf: number, split: boolean): number {
    const allocator = this.allocator;
    const pmem = this.pmem;
    // Split below the last bit of this node: a new node with two leaves takes the place of the leaf.
    const deeper = split && (this.parentIsInode || this.depth === DIR_SHIFT);
    if (deeper && this.levels === DIR_MAX_LEVELS) return -ENOSPC;
    const parts = split ? 2 : 1;
    const promised = parts + (deeper ? 1 : 0);
    const { quota } = this;
    if (quota !== null && quota.takeBlocks(ib, iw, promised - 1) < 0) return -EDQUOT;
    if (!allocator.reserve(promised, false)) {
      quota?.giveBlocks(ib, iw, promised - 1);
      return -ENOSPC;
    }
    const half = this.hashFirst + this.hashSpan / 2;
    const first = this.copyPart(leaf, owner, split ? -1 : 0, half);
    const second = split && first > 0 ? this.copyPart(leaf, owner, 1, half) : 0;
    const node = deeper && Math.min(first, second) > 0 ? allocator.takeMetadata() : 0;
    const error = Math.min(first, second, node);
    if (error < 0) {
      allocator.abandon();
      quota?.giveBlocks(ib, iw, promised - 1);
      return error;
    }
    const journal = this.journal;
    journal.begin();
    if (deeper) {
      for (let slot = 0; slot < DIR_ENTRIES; slot++) {
        pmem.store(node, slot * 2, slot < DIR_ENTRIES / 2 ? first : second);
        pmem.store(node, slot * 2 + 1, DIR_LEAF + 1);
      }
      pmem.writeBack(node, 0, BLOCK_SIZE);
      journal.set(this.parentBlock, this.parentIsInode ? this.parentWord : this.firstSlot * 2, node);
      journal.set(
        this.parentBlock,
        this.parentIsInode ? this.parentWord + 1 : this.firstSlot * 2 + 1,
        DIR_NODE,
      );
    } else if (this.parentIsInode) {
      journal.set(this.parentBlock, this.parentWord, first);
      journal.set(this.parentBlock, this.parentWord + 1, DIR_LEAF);
    } else {
      const slots = DIR_ENTRIES >>> this.depth;
      const depth = this.depth + (split ? 1 : 0);
      for (let slot = 0; slot < slots; slot++) {
        const target = split && slot >= slots / 2 ? second : first;
        journal.set(this.parentBlock, (this.firstSlot + slot) * 2, target);
        journal.set(this.parentBlock, (this.firstSlot + slot) * 2 + 1, DIR_LEAF + depth);
      }
    }
    if (promised > 1) this.addBlocks(ib, iw, promised - 1);
    journal.commit();
    allocator.release(leaf);
    return 0;
  }

  /** A new leaf with the records of `leaf` below `half` (side -1), from `half` on (1), or all (0); or an error. */
  private copyPart(leaf: number, owner: number, side: number, half: number): number {
    const pmem = this.pmem;
    const target = this.allocator.takeMetadata();
    if (target < 0) return target;
    this.formatLeaf(target, owner);
    let used = DL_RECORDS;
    for (let at = DL_RECORDS; at < BLOCK_WORDS; ) {
      const shape = pmem.load(leaf, at + DR_SHAPE);
      const words = shape & 0xffff;
      const hash = pmem.load(leaf, at + DR_HASH);
      if (pmem.load(leaf, at + DR_INO) !== 0 && (side === 0 || side < 0 === hash < half)) {
        const tight = recordWords((shape >>> 16) & 0xff);
        for (let word = 0; word < tight; word++) pmem.store(target, used + word, pmem.load(leaf, at + word));
        pmem.store(target, used + DR_SHAPE, ((shape & 0xffff0000) | tight) >>> 0);
        used += tight;
        // A rest too small for a record goes to the last one.
        if (BLOCK_WORDS - used < DR_MIN_WORDS && used < BLOCK_WORDS) {
          pmem.store(
            target,
            used - tight + DR_SHAPE,
            ((shape & 0xffff0000) | (tight + BLOCK_WORDS - used)) >>> 0,
          );
          used = BLOCK_WORDS;
        }
      }
      at += words;
    }
    this.finishLeaf(target, used);
    return target;
  }

  /** Stage a new record for the name of `findRoom`, for which `makeRoom` has succeeded. */
  insert(bytes: Uint8Array, start: number, length: number, ino: number, type: number): void {
    const { journal, roomLeaf: leaf, roomRecord: place } = this;
    let words = recordWords(length);
    const rest = this.roomWords - words;
    if (rest >= DR_MIN_WORDS) {
      journal.set(leaf, place + words + DR_INO, 0);
      journal.set(leaf, place + words + DR_SHAPE, rest);
    } else {
      words = this.roomWords;
    }
    journal.set(leaf, place + DR_INO, ino);
    journal.set(leaf, place + DR_HASH, this.roomHash);
    journal.set(leaf, place + DR_SHAPE, (type << 24) | (length << 16) | words);
    journal.set(leaf, place + DR_TIE, this.roomTie & 0xffff);
    for (let word = 0; word < (length + 3) >>> 2; word++) {
      let value = 0;
      for (let index = 0; index < 4; index++) {
        const at = word * 4 + index;
        if (at < length) value |= bytes[start + at] << (index * 8);
      }
      journal.set(leaf, place + DR_NAME + word, value);
    }
  }

  /**
   * Stage the removal of the record at (`leaf`, `record`), as `find` gave them. `previous` too, when nothing else is
   * staged in the leaf, else -1. Returns 0 or -EUCLEAN.
   */
  remove(leaf: number, record: number, before: number): number {
    const journal = this.journal;
    let previous = before;
    if (before < 0) {
      previous = 0;
      for (let at = DL_RECORDS; at < record; ) {
        const words = this.checkRecord(leaf, at);
        if (words < 0) return words;
        previous = at;
        at += words;
      }
    }
    let words = journal.get(leaf, record + DR_SHAPE) & 0xffff;
    const next = record + words;
    if (next < BLOCK_WORDS && journal.get(leaf, next + DR_INO) === 0)
      words += journal.get(leaf, next + DR_SHAPE) & 0xffff;
    if (previous !== 0 && journal.get(leaf, previous + DR_INO) === 0) {
      journal.set(leaf, previous + DR_SHAPE, (journal.get(leaf, previous + DR_SHAPE) & 0xffff) + words);
      return 0;
    }
    journal.set(leaf, record + DR_INO, 0);
    journal.set(leaf, record + DR_SHAPE, words);
    return 0;
  }

  /** Stage another inode for a record that stays. */
  replace(leaf: number, record: number, ino: number, type: number): void {
    const shape = this.journal.get(leaf, record + DR_SHAPE);
    this.journal.set(leaf, record + DR_INO, ino);
    this.journal.set(leaf, record + DR_SHAPE, ((shape & 0xffffff) | (type << 24)) >>> 0);
  }

  /** Whether the tree is more than a leaf, so that it is worth freeing when the last name goes. */
  hasNodes(ib: number, iw: number): boolean {
    return (this.journal.get(ib, iw + I_DIR_ROOT + 1) & DIR_KIND_MASK) === DIR_NODE;
  }

  /** Stage an empty tree. After the commit, `releaseOld` frees the blocks of the old one. */
  clear(ib: number, iw: number): void {
    this.clearedRoot = this.journal.get(ib, iw + I_DIR_ROOT);
    this.clearedTag = this.journal.get(ib, iw + I_DIR_ROOT + 1);
    this.clearedBlocks = this.journal.get(ib, iw + I_BLOCKS) - this.journal.get(ib, iw + X_XATTR_BLOCKS);
    this.journal.set(ib, iw + I_DIR_ROOT, 0);
    this.journal.set(ib, iw + I_DIR_ROOT + 1, 0);
    this.journal.set64(ib, iw + I_BLOCKS, this.journal.get(ib, iw + X_XATTR_BLOCKS));
    this.journal.set64(ib, iw + I_SIZE, 0);
  }

  /** After the commit: free the tree that `clear` took from a directory. */
  releaseOld(ib: number, iw: number): void {
    this.releaseTree(this.clearedRoot, this.clearedTag, 0);
    this.quota?.giveBlocks(ib, iw, this.clearedBlocks - 1);
  }

  /** Free all blocks of a tree that nothing points to any more. */
  releaseTree(block: number, tag: number, levels: number): void {
    if (!this.pmem.inRange(block)) return;
    if ((tag & DIR_KIND_MASK) === DIR_LEAF) {
      this.allocator.release(block);
      return;
    }
    if ((tag & DIR_KIND_MASK) !== DIR_NODE || levels === DIR_MAX_LEVELS) return;
    let last = 0;
    for (let slot = 0; slot < DIR_ENTRIES; slot++) {
      const child = this.pmem.load(block, slot * 2);
      // Entries that point to one leaf are neighbours.
      if (child !== last) this.releaseTree(child, this.pmem.load(block, slot * 2 + 1), levels + 1);
      last = child;
    }
    this.allocator.release(block);
  }

  // --- reading all names ---

  /** Records that `collect` found, in order of position. */
  collected = 0;
  /** First hash behind the leaf that `collect` looked at; 2^32 at the end. */
  nextHash = 0;
  leafRead = 0;

  /**
   * Gather the records of the leaf that covers `hash` (signed, as all hashes inside), from (`hash`, `tie`) on and in order. Returns how many, or
   * -EUCLEAN; then `nextHash` says where to go on.
   */
  collect(ib: number, iw: number, owner: number, hash: number, tie: number): number {
    const journal = this.journal;
    const leaf = this.descend(ib, iw, owner, hash);
    this.collected = 0;
    this.nextHash = TWO_32;
    if (leaf <= 0) return leaf;
    this.leafRead = leaf;
    this.nextHash = this.hashFirst + this.hashSpan;
    let count = 0;
    for (let at = DL_RECORDS; at < BLOCK_WORDS; ) {
      const words = this.checkRecord(leaf, at);
      if (words < 0) return words;
      if (journal.get(leaf, at + DR_INO) !== 0) {
        const recordHash = journal.getBits(leaf, at + DR_HASH);
        const recordTie = journal.get(leaf, at + DR_TIE);
        if (recordHash >>> 0 > hash >>> 0 || (recordHash === hash && recordTie >= tie)) {
          let place = count;
          while (place > 0 && this.comesBefore(leaf, recordHash, recordTie, this.recordAt[place - 1])) {
            this.recordAt[place] = this.recordAt[place - 1];
            place--;
          }
          this.recordAt[place] = at;
          count++;
        }
      }
      at += words;
    }
    this.collected = count;
    return count;
  }

  private comesBefore(leaf: number, hash: number, tie: number, other: number): boolean {
    const otherHash = this.journal.getBits(leaf, other + DR_HASH);
    return (
      hash >>> 0 < otherHash >>> 0 || (hash === otherHash && tie < this.journal.get(leaf, other + DR_TIE))
    );
  }

  /** The n-th record that `collect` gathered. */
  recordOf(index: number): number {
    return this.recordAt[index];
  }
}
