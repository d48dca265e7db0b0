// SPDX-License-Identifier: BSD-3-Clause

import {
  BLOCK_WORDS,
  checkLog,
  checkWords,
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
import { H_JOURNAL_FIRST, H_JOURNAL_SLOTS, H_SEQUENCE, type SharedState } from './shared.ts';
import { StagedWords } from './staged-words.ts';

const LINE_BYTES = 64;
const LINE_WORDS = LINE_BYTES / 4;
/** Log words of a transaction of one word. */
const ONE_WORD = J_RECORDS + 3;

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
  private readonly staged = new StagedWords();
  private readonly log = new Uint32Array(JOURNAL_SLOT_WORDS);
  private readonly logAddress: number;
  /** For the crash tests only: apply without logging first. */
  bypass = false;

  constructor(pmem: Pmem, shared: SharedState, zt: number) {
    this.pmem = pmem;
    this.shared = shared;
    this.slot = zt % shared.header[H_JOURNAL_SLOTS];
    this.logAddress = pmem.addon.addressOf(this.log.buffer);
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
      if (place >= 0) return this.staged.valueAt(place);
    }
    return this.pmem.u32[block * BLOCK_WORDS + word];
  }

  /** As `get`, for words that are bits: signed, because a larger number would be an object on the heap. */
  getBits(block: number, word: number): number {
    if (this.staged.count !== 0) {
      const place = this.staged.find(block, word);
      if (place >= 0) return this.staged.valueAt(place) | 0;
    }
    return this.pmem.u32[block * BLOCK_WORDS + word] | 0;
  }

  /** Stage a word. */
  set(block: number, word: number, value: number): void {
    this.staged.set(block, word, value);
  }

  /** Stage a whole inode: `count` words of `source` from `from` on, then zeroes. */
  setInode(ib: number, iw: number, source: Int32Array, from: number, count: number): void {
    this.staged.setGroup(ib, iw, source, from, count);
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
    const { pmem, log, staged } = this;
    if (pmem.pending) pmem.fence();
    if (staged.count === 0) return;
    const used = staged.write(log, J_RECORDS);
    // A single word reaches the media whole or not at all.
    if (this.bypass || used === ONE_WORD) {
      pmem.storeRecords(log, this.logAddress, J_RECORDS, used);
      pmem.fence();
    } else {
      this.commitLog(used);
    }
    staged.clear();
  }

  private commitLog(used: number): void {
    const { pmem, log, shared } = this;
    const first = shared.header[H_JOURNAL_FIRST] + this.slot * JOURNAL_SLOT_BLOCKS;
    shared.lockJournal(this.slot);
    log[J_MAGIC] = JOURNAL_MAGIC;
    log[J_WORDS] = used;
    log[J_SEQUENCE] = Atomics.add(shared.header, H_SEQUENCE, 1);
    checkLog(log, used);
    // In whole cache lines, which go past the caches without being read first; what lies behind `used` means nothing.
    pmem.copyIn(first, 0, this.logAddress, Math.ceil(used / LINE_WORDS) * LINE_BYTES);
    pmem.fence();
    pmem.storeRecords(log, this.logAddress, J_RECORDS, used);
    pmem.fence();
    pmem.zero(first, 0, LINE_BYTES);
    pmem.fence();
    shared.unlockJournal(this.slot);
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
