// SPDX-License-Identifier: BSD-3-Clause

import type { Operation } from '../filesystem.ts';
import {
  BLOCK_WORDS,
  checkWords,
  INODE_WORDS,
  J_CHECK_HIGH,
  J_CHECK_LOW,
  J_MAGIC,
  J_RECORDS,
  J_SEQUENCE,
  J_WORDS,
  JOURNAL_CHECK_SEED_HIGH,
  JOURNAL_CHECK_SEED_LOW,
  JOURNAL_MAGIC,
  JOURNAL_SLOT_BLOCKS,
  JOURNAL_SLOT_WORDS,
} from './format.ts';
import type { Pmem } from './pmem.ts';
import { H_JOURNAL_FIRST, H_JOURNAL_SLOTS, type SharedState } from './shared.ts';
import { StagedWords } from './staged-words.ts';

const INODE_BYTES = INODE_WORDS * 4;

/**
 * One transaction at a time of one ZT: a redo log of 32-bit words.
 *
 * `set` stages a word in ordinary memory, `get` reads through what is staged. `commit` writes the records to the
 * ZT's journal slot, fences, applies them in place, fences, and empties the slot: a power failure leaves all of them
 * or none. Blocks that nothing on the media refers to yet are written directly, before the commit that links them.
 */
export class Journal {
  private readonly pmem: Pmem;
  private readonly shared: SharedState;
  private readonly slot: number;
  private readonly slotIsShared: boolean;
  private readonly staged = new StagedWords();
  private readonly log = new Uint32Array(JOURNAL_SLOT_WORDS);
  private readonly logAddress: number;
  private readonly groupsAddress: number;

  /** Of the ZT with number `zt` of `zts`. */
  constructor(pmem: Pmem, shared: SharedState, zt: number, zts: number) {
    this.pmem = pmem;
    this.shared = shared;
    const slots = shared.header[H_JOURNAL_SLOTS];
    this.slot = zt % slots;
    this.slotIsShared = zts > slots;
    this.log[J_MAGIC] = JOURNAL_MAGIC;
    this.logAddress = pmem.addon.addressOf(this.log.buffer);
    this.groupsAddress = pmem.addon.addressOf(this.staged.groups.buffer);
  }

  isEmpty(): boolean {
    return this.staged.count === 0;
  }

  begin(): void {
    this.staged.clear();
  }

  /** Forget what was staged. */
  abort(): void {
    this.staged.clear();
  }

  get(block: number, word: number): number {
    if (this.staged.count !== 0) {
      const place = this.staged.find(block, word);
      if (place >= 0) return this.staged.groups[place];
    }
    return this.pmem.u32[block * BLOCK_WORDS + word];
  }

  /** As `get`, for words that are bits: signed, because a larger number would be an object on the heap. */
  getBits(block: number, word: number): number {
    if (this.staged.count !== 0) {
      const place = this.staged.find(block, word);
      if (place >= 0) return this.staged.groups[place] | 0;
    }
    return this.pmem.u32[block * BLOCK_WORDS + word] | 0;
  }

  /** Stage a word. */
  set(block: number, word: number, value: number): void {
    this.staged.set(block, word, value);
  }

  /**
   * Stage a whole inode: `bytes` that lie in a command from `offset` on, then zeroes; without a command zeroes alone. Returns its place, for
   * `put`.
   */
  stageInode(ib: number, iw: number, op: Operation | null, offset: number, bytes: number): number {
    const place = this.staged.stageGroup(ib, iw);
    const source = op === null ? 0 : op.address + offset;
    this.pmem.addon.copyPadded(this.groupsAddress + place * 4, source, bytes, INODE_BYTES);
    return place;
  }

  /** Stage `count` neighbouring words that lie in one half of an inode. Returns the place of the first, for `put`. */
  stageRun(ib: number, word: number, count: number): number {
    return this.staged.stageRun(ib, word, count);
  }

  /** A word of what was staged together. */
  put(place: number, word: number, value: number): void {
    this.staged.groups[place + word] = value;
  }

  put64(place: number, word: number, value: number): void {
    this.put(place, word, value >>> 0);
    this.put(place, word + 1, Math.floor(value / 4294967296));
  }

  /** Bits of a word to set, of an inode that was staged as a whole. */
  putBits(place: number, word: number, bits: number): void {
    this.staged.bits[place + word] |= bits;
  }

  /** Add to a staged 64-bit counter; `delta` may be negative, the result must not be. */
  add64(block: number, word: number, delta: number): void {
    const value = this.get(block, word) + this.get(block, word + 1) * 4294967296 + delta;
    this.set64(block, word, value);
  }

  set64(block: number, word: number, value: number): void {
    this.set(block, word, value >>> 0);
    this.set(block, word + 1, Math.floor(value / 4294967296));
  }

  /** Make everything staged durable, all or nothing, and everything stored before durable with it. */
  commit(): void {
    const { pmem, log, staged, shared } = this;
    if (staged.count === 0) {
      if (pmem.pending) pmem.fence();
      return;
    }
    log[J_SEQUENCE]++;
    const block = shared.header[H_JOURNAL_FIRST] + this.slot * JOURNAL_SLOT_BLOCKS;
    if (this.slotIsShared) shared.lockJournal(this.slot);
    const fits = pmem.commit(this.groupsAddress, staged.count, log, this.logAddress, block);
    if (this.slotIsShared) shared.unlockJournal(this.slot);
    if (!fits) throw new RangeError('a transaction is too large');
    staged.clear();
  }
}

/** Whether all records of a log lie inside the media and the log itself. */
function recordsAreValid(pmem: Pmem, log: Uint32Array, to: number): boolean {
  let at = J_RECORDS;
  while (at < to) {
    if (at + 2 > to || !pmem.inRange(log[at])) return false;
    const word = log[at + 1] >>> 16;
    const count = log[at + 1] & 0xffff;
    if (count === 0 || word + count > BLOCK_WORDS || at + 2 + count > to) return false;
    at += 2 + count;
  }
  return true;
}

/** How many transactions were committed but perhaps not applied. */
export function countTransactions(pmem: Pmem, firstBlock: number, slots: number): number {
  const log = new Uint32Array(JOURNAL_SLOT_WORDS);
  let count = 0;
  for (let slot = 0; slot < slots; slot++) {
    if (readSlot(pmem, firstBlock + slot * JOURNAL_SLOT_BLOCKS, log) > 0) count++;
  }
  return count;
}

/** Read the log of a slot. Returns its words, 0 when it holds nothing, -1 when what it holds was never committed. */
function readSlot(pmem: Pmem, block: number, log: Uint32Array): number {
  if (pmem.load(block, J_MAGIC) !== JOURNAL_MAGIC) return 0;
  log.set(pmem.u32.subarray(block * BLOCK_WORDS, block * BLOCK_WORDS + JOURNAL_SLOT_WORDS));
  const words = log[J_WORDS];
  const isWhole =
    words > J_RECORDS &&
    words <= JOURNAL_SLOT_WORDS &&
    checkWords(log, J_SEQUENCE, words, JOURNAL_CHECK_SEED_LOW) >>> 0 === log[J_CHECK_LOW] &&
    checkWords(log, J_SEQUENCE, words, JOURNAL_CHECK_SEED_HIGH) >>> 0 === log[J_CHECK_HIGH];
  return isWhole ? words : -1;
}

/**
 * Mount: finish the transactions that were committed but perhaps not applied. Doing it twice does no harm, and so
 * neither does a crash in the middle. Returns how many were replayed, or -1 when a committed log makes no sense.
 */
export function replayJournal(pmem: Pmem, firstBlock: number, slots: number): number {
  const log = new Uint32Array(JOURNAL_SLOT_WORDS);
  let replayed = 0;
  for (let slot = 0; slot < slots; slot++) {
    const block = firstBlock + slot * JOURNAL_SLOT_BLOCKS;
    const words = readSlot(pmem, block, log);
    if (words === 0) continue;
    if (words > 0) {
      if (!recordsAreValid(pmem, log, words)) return -1;
      pmem.storeRecords(log, pmem.addon.addressOf(log.buffer), J_RECORDS, words);
      pmem.fence();
      replayed++;
    }
    // A log that was torn by the crash was never committed: the operation did not happen.
    pmem.store(block, J_MAGIC, 0);
    pmem.writeBack(block, 0, 4);
    pmem.fence();
  }
  return replayed;
}
