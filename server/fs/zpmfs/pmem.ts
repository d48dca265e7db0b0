// SPDX-License-Identifier: BSD-3-Clause

import type { Addon } from '../../native/addon.ts';
import { BLOCK_SIZE, BLOCK_WORDS, J_RECORDS } from './format.ts';

const LINE_BYTES = 64;
const LINE_WORDS = LINE_BYTES / 4;
/** Log words of a transaction of one word, which reaches the media whole or not at all: it can go there at once. */
const ONE_WORD = J_RECORDS + 3;

/**
 * Sees everything that is done to the media, in program order, after it was done. The crash tests rebuild from it
 * what pmem may hold after a power failure at any moment.
 */
export interface Recorder {
  /** An ordinary store: durable once written back and fenced, or at any moment before. */
  store(offset: number, length: number): void;
  /** A non-temporal store: durable after the next fence, or at any moment before. */
  nonTemporal(offset: number, length: number): void;
  writeBack(offset: number, length: number): void;
  fence(): void;
}

/**
 * The pmem of a mount. Nothing else in zpmfs stores to it, writes back or fences. Callers pass block numbers that
 * they have checked against `blocks`.
 */
export class Pmem {
  readonly addon: Addon;
  readonly address: number;
  readonly blocks: number;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  recorder: Recorder | null = null;
  /** For the crash tests only, beside a recorder: apply without logging first. */
  bypassLog = false;
  /** Called with every new Pmem, so that a test can record what a mount does too. */
  static onCreate: ((pmem: Pmem) => void) | null = null;
  /** Something was stored past the caches or written back, and no fence followed yet. */
  pending = false;

  constructor(addon: Addon, address: number, length: number) {
    this.addon = addon;
    this.address = address;
    this.blocks = Math.floor(length / BLOCK_SIZE);
    const buffer = addon.external(address, this.blocks * BLOCK_SIZE);
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    Pmem.onCreate?.(this);
  }

  /** Whether a block number read from the media can be followed at all. */
  inRange(block: number): boolean {
    return block > 0 && block < this.blocks;
  }

  load(block: number, word: number): number {
    return this.u32[block * BLOCK_WORDS + word];
  }

  store(block: number, word: number, value: number): void {
    this.u32[block * BLOCK_WORDS + word] = value;
    if (this.recorder !== null) this.recorder.store((block * BLOCK_WORDS + word) * 4, 4);
  }

  /** Copy from any memory of the process, past the caches. */
  copyIn(block: number, offset: number, source: number, length: number): void {
    this.addon.copyNonTemporal(this.address + block * BLOCK_SIZE + offset, source, length);
    this.pending = true;
    if (this.recorder !== null) this.recorder.nonTemporal(block * BLOCK_SIZE + offset, length);
  }

  /** Copy from one place of the media to another, past the caches. */
  copyBetween(block: number, offset: number, fromBlock: number, fromOffset: number, length: number): void {
    this.copyIn(block, offset, this.address + fromBlock * BLOCK_SIZE + fromOffset, length);
  }

  zero(block: number, offset: number, length: number): void {
    this.addon.zeroNonTemporal(this.address + block * BLOCK_SIZE + offset, length);
    this.pending = true;
    if (this.recorder !== null) this.recorder.nonTemporal(block * BLOCK_SIZE + offset, length);
  }

  /**
   * Store records that lie in `log`, at `logAddress`, from word `from` up to `to`, and write them back. A record: block, (first
   * word << 16 | count), the words. The caller has checked that they lie inside the media.
   */
  storeRecords(log: Uint32Array, logAddress: number, from: number, to: number): void {
    this.addon.storeRecords(this.address, logAddress + from * 4, to - from);
    this.pending = true;
    if (this.recorder === null) return;
    for (let at = from; at < to; ) {
      const start = (log[at] * BLOCK_WORDS + (log[at + 1] >>> 16)) * 4;
      const count = log[at + 1] & 0xffff;
      for (let index = 0; index < count; index++) this.recorder.store(start + index * 4, 4);
      this.recorder.writeBack(start, count * 4);
      at += 2 + count;
    }
  }

  /**
   * Make the words that are staged in `count` groups durable in place, all of them or none, and what was stored before with them. The log
   * is written into `log`, at `logAddress`, and lies in the journal's slot that starts at `block` meanwhile. Returns false when it
   * has no room there.
   */
  commit(groups: number, count: number, log: Uint32Array, logAddress: number, block: number): boolean {
    if (this.recorder !== null) return this.commitInSteps(groups, count, log, logAddress, block);
    const slot = this.address + block * BLOCK_SIZE;
    const used = this.addon.commit(groups, count, logAddress, log.length, this.address, slot, this.pending);
    this.pending = false;
    return used !== 0;
  }

  /** The same, for who looks at each step. */
  private commitInSteps(
    groups: number,
    count: number,
    log: Uint32Array,
    logAddress: number,
    block: number,
  ): boolean {
    if (this.pending) this.fence();
    const used = this.addon.writeLog(groups, count, logAddress, log.length);
    if (used === 0) return false;
    const isLogged = used !== ONE_WORD && !this.bypassLog;
    if (isLogged) {
      this.copyIn(block, 0, logAddress, Math.ceil(used / LINE_WORDS) * LINE_BYTES);
      this.fence();
    }
    this.storeRecords(log, logAddress, J_RECORDS, used);
    this.fence();
    if (isLogged) {
      this.zero(block, 0, LINE_BYTES);
      this.fence();
    }
    return true;
  }

  copyOut(destination: number, block: number, offset: number, length: number): void {
    this.addon.copy(destination, this.address + block * BLOCK_SIZE + offset, length);
  }

  writeBack(block: number, offset: number, length: number): void {
    this.addon.writeBack(this.address + block * BLOCK_SIZE + offset, length);
    this.pending = true;
    if (this.recorder !== null) this.recorder.writeBack(block * BLOCK_SIZE + offset, length);
  }

  fence(): void {
    this.addon.fence();
    this.pending = false;
    if (this.recorder !== null) this.recorder.fence();
  }
}
