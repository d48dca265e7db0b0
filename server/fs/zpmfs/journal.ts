// SPDX-License-Identifier: BSD-3-Clause

import {
  BLOCK_WORDS,
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

const TABLE_SIZE = 32768;
const TABLE_MASK = TABLE_SIZE - 1;

/**
 * One transaction at a time of one ZT: a redo log of 32-bit words.
 *
 * `set` stages a word in ordinary memory, `get` reads through what is staged. `commit` writes the records to the
 * ZT's journal slot, fences, applies them in place, fences, and empties the slot: a power failure leaves all of them
 * or none. Blocks that nothing on the media refers to yet are written directly, before the commit that links them.
 *
 * Record: block, (first word << 16 | count), then the words. A record never crosses a block.
 */
export class Journal {
  private readonly pmem: Pmem;
  private readonly shared: SharedState;
  private readonly slot: number;
  private readonly log = new Uint32Array(JOURNAL_SLOT_WORDS);
  private readonly logAddress: number;
  private used = J_RECORDS;
  /** Where the header of the last record lies; 0: none. */
  private lastRecord = 0;
  private readonly keyBlock = new Uint32Array(TABLE_SIZE);
  private readonly keyWord = new Uint16Array(TABLE_SIZE);
  private readonly position = new Uint16Array(TABLE_SIZE);
  private readonly stamp = new Uint32Array(TABLE_SIZE);
  private now = 1;
  /** For the crash tests only: apply without logging first. */
  bypass = false;

  constructor(pmem: Pmem, shared: SharedState, zt: number) {
    this.pmem = pmem;
    this.shared = shared;
    this.slot = zt % shared.header[H_JOURNAL_SLOTS];
    this.logAddress = pmem.addon.addressOf(this.log.buffer);
  }

  private firstBlock(): number {
    return this.shared.header[H_JOURNAL_FIRST] + this.slot * JOURNAL_SLOT_BLOCKS;
  }

  /** Words that still fit; every new record costs two more than its words. */
  room(): number {
    return JOURNAL_SLOT_WORDS - this.used;
  }

  isEmpty(): boolean {
    return this.used === J_RECORDS;
  }

  begin(): void {
    this.used = J_RECORDS;
    this.lastRecord = 0;
    this.now++;
    if (this.now > 0xffff_fff0) {
      this.stamp.fill(0);
      this.now = 1;
    }
  }

  /** Forget what was staged. */
  abort(): void {
    this.begin();
  }

  private find(block: number, word: number): number {
    let index = (Math.imul(block, 0x9e3779b1) ^ Math.imul(word + 1, 0x85ebca6b)) >>> 17;
    while (this.stamp[index] === this.now) {
      if (this.keyBlock[index] === block && this.keyWord[index] === word) return index;
      index = (index + 1) & TABLE_MASK;
    }
    return -1 - index;
  }

  get(block: number, word: number): number {
    if (this.used !== J_RECORDS) {
      const index = this.find(block, word);
      if (index >= 0) return this.log[this.position[index]];
    }
    return this.pmem.u32[block * BLOCK_WORDS + word];
  }

  /** As `get`, for words that are bits: signed, because a larger number would be an object on the heap. */
  getBits(block: number, word: number): number {
    if (this.used !== J_RECORDS) {
      const index = this.find(block, word);
      if (index >= 0) return this.log[this.position[index]] | 0;
    }
    return this.pmem.u32[block * BLOCK_WORDS + word] | 0;
  }

  /** Stage a word. The caller has made sure of `room()`. */
  set(block: number, word: number, value: number): void {
    const index = this.find(block, word);
    if (index >= 0) {
      this.log[this.position[index]] = value;
      return;
    }
    const log = this.log;
    const last = this.lastRecord;
    if (last !== 0 && log[last] === block) {
      const shape = log[last + 1];
      if ((shape >>> 16) + (shape & 0xffff) === word) {
        log[last + 1] = shape + 1;
        this.stage(-1 - index, block, word, value);
        return;
      }
    }
    this.lastRecord = this.used;
    log[this.used] = block;
    log[this.used + 1] = (word << 16) | 1;
    this.used += 2;
    this.stage(-1 - index, block, word, value);
  }

  private stage(index: number, block: number, word: number, value: number): void {
    this.keyBlock[index] = block;
    this.keyWord[index] = word;
    this.position[index] = this.used;
    this.stamp[index] = this.now;
    this.log[this.used] = value;
    this.used++;
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
    const pmem = this.pmem;
    if (pmem.pending) pmem.fence();
    if (this.used === J_RECORDS) return;
    const first = this.firstBlock();
    this.shared.lockJournal(this.slot);
    if (!this.bypass) {
      const log = this.log;
      log[J_MAGIC] = JOURNAL_MAGIC;
      log[J_WORDS] = this.used;
      log[J_SEQUENCE] = Atomics.add(this.shared.header, H_SEQUENCE, 1);
      log[J_CHECK_LOW] = checkWords(log, J_SEQUENCE, this.used, JOURNAL_CHECK_SEED_LOW);
      log[J_CHECK_HIGH] = checkWords(log, J_SEQUENCE, this.used, JOURNAL_CHECK_SEED_HIGH);
      pmem.copyIn(first, 0, this.logAddress, this.used * 4);
      pmem.fence();
    }
    applyRecords(pmem, this.log, J_RECORDS, this.used);
    pmem.fence();
    if (!this.bypass) {
      pmem.store(first, J_MAGIC, 0);
      pmem.writeBack(first, 0, 4);
      pmem.fence();
    }
    this.shared.unlockJournal(this.slot);
    this.begin();
  }
}

/** Store and write back the records of a checked log; the caller fences. */
function applyRecords(pmem: Pmem, log: Uint32Array, from: number, to: number): void {
  let at = from;
  while (at < to) {
    const block = log[at];
    const word = log[at + 1] >>> 16;
    const count = log[at + 1] & 0xffff;
    at += 2;
    for (let index = 0; index < count; index++) pmem.store(block, word + index, log[at + index] | 0);
    pmem.writeBack(block, word * 4, count * 4);
    at += count;
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
      applyRecords(pmem, log, J_RECORDS, words);
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
