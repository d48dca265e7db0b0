// SPDX-License-Identifier: BSD-3-Clause

import type { Addon } from '../../native/addon.ts';
import { INODES_PER_BLOCK } from './format.ts';

/**
 * The state of a mount that all its ZTs share, in one SharedArrayBuffer. It holds nothing that the media don't:
 * a mount builds it from the inodes.
 *
 * What each operation looks at is read plainly, since Atomics.load is a call, and five of them are a tenth of an operation: aligned words
 * are read whole, from memory each time, and in the order of the program on the CPUs that the addon is for. Whatever depends on
 * nobody having come between is done by an atomic operation that expects what was read.
 */

/** Blocks of one allocation chunk: 2 MiB, what a huge page covers. */
export const CHUNK_BLOCKS = 512;
export const CHUNK_SHIFT = 9;
export const CHUNK_MAP_WORDS = CHUNK_BLOCKS / 32;
/** Chunks of one group, whose free blocks are counted together to skip full regions fast. */
export const GROUP_SHIFT = 9;

/** Reference count that marks a block of metadata: exactly one owner, never shared. */
export const REF_METADATA = 0xffff;
/** A block of metadata by the word of the last unmount; the inode that owns it was not looked at yet. */
export const REF_METADATA_UNSEEN = 0xfffe;
/** Data blocks shared as often as this get copied instead. */
export const REF_MAX = 0xfff0;

export const CHUNK_UNUSED = 0;
export const CHUNK_SMALL = 1;
export const CHUNK_LARGE = 2;

// Words of the header.
const HEADER_WORDS = 1024;
export const H_TOTAL_BLOCKS = 0;
export const H_FREE_BLOCKS = 1;
export const H_RESERVE_BLOCKS = 2;
export const H_USABLE_BLOCKS = 3;
export const H_INODE_BLOCKS = 4;
export const H_FREE_INODES = 5;
export const H_INODE_TABLE_LOCK = 6;
export const H_FLAGS = 7;
export const H_JOURNAL_FIRST = 8;
export const H_JOURNAL_SLOTS = 9;
export const H_HASH_SEED = 10;
export const H_OPTIONS_LENGTH = 11;
export const H_FSID = 14; // 2 words
/** Held by a ZT that looks at an inode for the first time. */
export const H_CHECK_LOCK = 17;
/** Inodes known to be damaged. */
export const H_DAMAGED = 18;
/** Inodes without a name that a read-only mount left. */
export const H_ORPHANS = 19;
/** Types of quotas that are counted, a bit each; 0: none, and there is no table of owners. */
export const H_QUOTA_COUNTED = 20;
/** Types whose limits hold. */
export const H_QUOTA_ENFORCED = 21;
/** Owners in the table. */
export const H_QUOTA_OWNERS = 22;
/** A timer of a soft limit started or ended since limits were written last. */
export const H_QUOTA_DIRTY = 23;
/** Held by a ZT that writes limits. */
export const H_QUOTA_LOCK = 24;
/** Blocks were taken that nothing refers to: what is known of free ones is not to be saved. */
export const H_MISCOUNTED = 25;
/** Seconds that soft limits may be exceeded: of space and inodes, for each type. */
export const H_QUOTA_GRACE = 32; // 6 words
const H_OPTIONS = 256; // 512 bytes
const H_JOURNAL_LOCKS = 512; // one a slot

export const FLAG_READ_ONLY = 1;
export const FLAG_SHUTDOWN = 2;

export const INODE_LOCKS = 4096;
const WRITER = -0x40000000;

export class SharedState {
  readonly buffer: SharedArrayBuffer;
  readonly header: Uint32Array;
  readonly options: Uint8Array;
  readonly journalLocks: Int32Array;
  /** One lock word for each hash of an inode index: -big a writer, n readers. */
  readonly inodeLocks: Int32Array;
  /** For the same hash: some file was given to applications to store to through a mapping. */
  readonly mapped: Uint8Array;
  /** Blocks of a chunk that are neither taken nor promised. */
  readonly chunkFree: Int32Array;
  readonly groupFree: Int32Array;
  readonly chunkKind: Uint8Array;
  /** A bit a block: taken. */
  readonly taken: Int32Array;
  /** References to a block: 0 free. */
  readonly refs: Uint16Array;
  /** Per block of inodes: which of the 16 are taken (low half), which are damaged (high half). */
  readonly inodeBits: Int32Array;
  /** Per block of inodes: which of the 16 were checked, all that they point to included. */
  readonly inodeChecked: Int32Array;
  /** Where each block of inodes lies. */
  readonly inodeBlocks: Uint32Array;
  readonly chunks: number;
  readonly groups: number;
  /** Where the table of owners starts, in a mount that counts for any. */
  readonly quotaTable: number;

  private readonly addon: Addon;

  constructor(buffer: SharedArrayBuffer, addon: Addon) {
    this.buffer = buffer;
    this.addon = addon;
    this.header = new Uint32Array(buffer, 0, HEADER_WORDS);
    const totalBlocks = this.header[H_TOTAL_BLOCKS];
    const layout = layoutOf(totalBlocks);
    this.options = new Uint8Array(buffer, H_OPTIONS * 4, 512);
    this.journalLocks = new Int32Array(buffer, H_JOURNAL_LOCKS * 4, 256);
    this.inodeLocks = new Int32Array(buffer, layout.inodeLocks, INODE_LOCKS);
    this.mapped = new Uint8Array(buffer, layout.mapped, INODE_LOCKS);
    this.chunks = layout.chunks;
    this.groups = layout.groups;
    this.chunkFree = new Int32Array(buffer, layout.chunkFree, layout.chunks);
    this.groupFree = new Int32Array(buffer, layout.groupFree, layout.groups);
    this.chunkKind = new Uint8Array(buffer, layout.chunkKind, layout.chunks);
    this.taken = new Int32Array(buffer, layout.taken, layout.chunks * CHUNK_MAP_WORDS);
    this.refs = new Uint16Array(buffer, layout.refs, totalBlocks);
    this.inodeBits = new Int32Array(buffer, layout.inodeBits, layout.inodeBlockMax);
    this.inodeChecked = new Int32Array(buffer, layout.inodeChecked, layout.inodeBlockMax);
    this.inodeBlocks = new Uint32Array(buffer, layout.inodeBlocks, layout.inodeBlockMax);
    this.quotaTable = layout.bytes;
  }

  /** `more`: bytes of the table of owners. */
  static create(totalBlocks: number, addon: Addon, more = 0): SharedState {
    const buffer = new SharedArrayBuffer(layoutOf(totalBlocks).bytes + more);
    new Uint32Array(buffer, 0, HEADER_WORDS)[H_TOTAL_BLOCKS] = totalBlocks;
    return new SharedState(buffer, addon);
  }

  get inodeBlockMax(): number {
    return this.inodeBlocks.length;
  }

  /** Address of `refs`. */
  get refsAddress(): number {
    return this.addon.addressOf(this.buffer) + this.refs.byteOffset;
  }

  /** Call `look` with every block that is referred to. Chunks of free blocks alone cost next to nothing. */
  forEachUsed(look: (block: number) => void): void {
    const { refs, refsAddress } = this;
    for (let block = 0; block < refs.length; block++) {
      if ((block & (CHUNK_BLOCKS - 1)) === 0) {
        const start = block * refs.BYTES_PER_ELEMENT;
        const zeros = this.addon.firstNonZero(refsAddress + start, refs.byteLength - start);
        block += Math.floor(zeros / refs.BYTES_PER_ELEMENT);
        if (block >= refs.length) return;
      }
      if (refs[block] !== 0) look(block);
    }
  }

  flag(bit: number): boolean {
    return (Atomics.load(this.header, H_FLAGS) & bit) !== 0;
  }

  setFlag(bit: number, on: boolean): void {
    if (on) Atomics.or(this.header, H_FLAGS, bit);
    else Atomics.and(this.header, H_FLAGS, ~bit >>> 0);
  }

  /**
   * Between two tries for a lock. Holders never block and hold for microseconds, so spinning is right; the CPU is
   * given up for a holder that waits for this very CPU.
   */
  private relax(tries: number): void {
    if (tries > 1000) this.addon.yieldCpu();
  }

  /** Give the CPU up once. Returns nanoseconds of CLOCK_MONOTONIC, for who waits no longer than so long. */
  pause(): number {
    this.addon.yieldCpu();
    return this.addon.monotonic();
  }

  lockExclusive(inode: number): void {
    const slot = inode & (INODE_LOCKS - 1);
    for (let tries = 0; Atomics.compareExchange(this.inodeLocks, slot, 0, WRITER) !== 0; tries++) {
      this.relax(tries);
    }
  }

  unlockExclusive(inode: number): void {
    Atomics.store(this.inodeLocks, inode & (INODE_LOCKS - 1), 0);
  }

  lockShared(inode: number): void {
    const slot = inode & (INODE_LOCKS - 1);
    for (let tries = 0; ; tries++) {
      const value = Atomics.load(this.inodeLocks, slot);
      if (value >= 0 && Atomics.compareExchange(this.inodeLocks, slot, value, value + 1) === value) return;
      this.relax(tries);
    }
  }

  unlockShared(inode: number): void {
    Atomics.sub(this.inodeLocks, inode & (INODE_LOCKS - 1), 1);
  }

  /** Two inodes at once, in the order of their lock words so that two ZTs never wait for each other. */
  lockBoth(a: number, b: number): void {
    const slotA = a & (INODE_LOCKS - 1);
    const slotB = b & (INODE_LOCKS - 1);
    if (slotA === slotB) {
      this.lockExclusive(a);
    } else if (slotA < slotB) {
      this.lockExclusive(a);
      this.lockExclusive(b);
    } else {
      this.lockExclusive(b);
      this.lockExclusive(a);
    }
  }

  unlockBoth(a: number, b: number): void {
    this.unlockExclusive(a);
    if ((a & (INODE_LOCKS - 1)) !== (b & (INODE_LOCKS - 1))) this.unlockExclusive(b);
  }

  noteMapped(inode: number): void {
    this.mapped[inode & (INODE_LOCKS - 1)] = 1;
  }

  wasMapped(inode: number): boolean {
    return this.mapped[inode & (INODE_LOCKS - 1)] !== 0;
  }

  lockWord(word: number): void {
    for (let tries = 0; Atomics.compareExchange(this.header, word, 0, 1) !== 0; tries++) this.relax(tries);
  }

  unlockWord(word: number): void {
    Atomics.store(this.header, word, 0);
  }

  lockJournal(slot: number): void {
    for (let tries = 0; Atomics.compareExchange(this.journalLocks, slot, 0, 1) !== 0; tries++)
      this.relax(tries);
  }

  unlockJournal(slot: number): void {
    Atomics.store(this.journalLocks, slot, 0);
  }
}

interface Layout {
  readonly chunks: number;
  readonly groups: number;
  readonly inodeBlockMax: number;
  readonly inodeLocks: number;
  readonly mapped: number;
  readonly chunkFree: number;
  readonly groupFree: number;
  readonly chunkKind: number;
  readonly taken: number;
  readonly refs: number;
  readonly inodeBits: number;
  readonly inodeChecked: number;
  readonly inodeBlocks: number;
  readonly bytes: number;
}

function layoutOf(totalBlocks: number): Layout {
  const chunks = Math.ceil(totalBlocks / CHUNK_BLOCKS);
  const groups = Math.ceil(chunks / 2 ** GROUP_SHIFT);
  // An eighth of the file system for inodes is one for every 2 KiB; more than 2^28 blocks would overflow an index.
  const inodeBlockMax = Math.min(Math.ceil(totalBlocks / 8) + 1, 2 ** 32 / INODES_PER_BLOCK);
  let at = HEADER_WORDS * 4;
  const take = (bytes: number): number => {
    const start = at;
    at = Math.ceil((at + bytes) / 64) * 64;
    return start;
  };
  const inodeLocks = take(INODE_LOCKS * 4);
  const mapped = take(INODE_LOCKS);
  const chunkFree = take(chunks * 4);
  const groupFree = take(groups * 4);
  const chunkKind = take(chunks);
  const taken = take(chunks * CHUNK_MAP_WORDS * 4);
  const refs = take(totalBlocks * 2);
  const inodeBits = take(inodeBlockMax * 4);
  const inodeChecked = take(inodeBlockMax * 4);
  const inodeBlocks = take(inodeBlockMax * 4);
  return {
    chunks,
    groups,
    inodeBlockMax,
    inodeLocks,
    mapped,
    chunkFree,
    groupFree,
    chunkKind,
    taken,
    refs,
    inodeBits,
    inodeChecked,
    inodeBlocks,
    bytes: at,
  };
}
