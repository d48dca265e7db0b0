// SPDX-License-Identifier: BSD-3-Clause

import type { AttachRequest } from '../filesystem.ts';
import type { Allocator } from './allocator.ts';
import { ENOSPC, ESTALE, EUCLEAN } from './errno.ts';
import {
  BLOCK_SIZE,
  I_SIZE,
  INODE_IN_USE,
  INODE_WORDS,
  INODES_PER_BLOCK,
  MAP_PRESENT,
  SB_INODE_TABLE,
  SUPER_BACKUP_BLOCK,
  SUPER_BLOCK,
  X_MAP_ROOT,
  X_STATE,
} from './format.ts';
import type { Journal } from './journal.ts';
import type { Mapping } from './mapping.ts';
import type { Pmem } from './pmem.ts';
import { Scanner } from './scan.ts';
import { H_FREE_INODES, H_INODE_BLOCKS, H_INODE_TABLE_LOCK, type SharedState } from './shared.ts';

type Log = AttachRequest['log'];

/** Blocks that the inode table grows by. */
const GROW_BLOCKS = 4;

/** The word of its block where the slot of an inode starts. */
export function slotWord(index: number): number {
  return (index & (INODES_PER_BLOCK - 1)) * INODE_WORDS;
}

/** The inode table: where inodes are, and which are free. */
export class Inodes {
  private readonly pmem: Pmem;
  private readonly shared: SharedState;
  private readonly journal: Journal;
  private readonly allocator: Allocator;
  private readonly mapping: Mapping;
  private readonly scanner: Scanner;
  private readonly log: Log | undefined;
  private cursor = 0;

  constructor(
    pmem: Pmem,
    shared: SharedState,
    journal: Journal,
    allocator: Allocator,
    mapping: Mapping,
    zt: number,
    log: Log | undefined,
  ) {
    this.log = log;
    this.scanner = new Scanner(pmem, shared);
    this.scanner.known = true;
    this.pmem = pmem;
    this.shared = shared;
    this.journal = journal;
    this.allocator = allocator;
    this.mapping = mapping;
    this.cursor = zt;
  }

  /** Block that holds inode `index`; -ESTALE when there is no such inode, -EUCLEAN when it is damaged. */
  blockOf(index: number): number {
    const table = index >>> 4;
    const { header, inodeBlocks, inodeChecked, inodeBits } = this.shared;
    if (table >= header[H_INODE_BLOCKS]) return -ESTALE;
    const block = inodeBlocks[table];
    if (this.pmem.load(block, slotWord(index) + X_STATE) !== INODE_IN_USE) return -ESTALE;
    if (((inodeChecked[table] >>> (index & 15)) & 1) === 0) this.check(index, block);
    if ((inodeBits[table] >>> (16 + (index & 15))) & 1) return -EUCLEAN;
    return block;
  }

  private check(index: number, block: number): void {
    const what = this.scanner.checkOnce(index, block);
    if (what !== null) this.log?.('error', `zpmfs: inode ${index} is damaged: ${what}`);
  }

  /** The block of a slot that may be free; `index` came from `allocate`. */
  slotBlock(index: number): number {
    return this.shared.inodeBlocks[index >>> 4];
  }

  /**
   * Take a free inode; its slot on the media still says free. Returns the index, or an error. Not inside a transaction, nor with blocks
   * promised.
   */
  allocate(): number {
    const shared = this.shared;
    const header = shared.header;
    for (;;) {
      const free = header[H_FREE_INODES];
      if (free === 0) {
        const error = this.grow();
        if (error < 0) return error;
        continue;
      }
      if (Atomics.compareExchange(header, H_FREE_INODES, free, free - 1) === free) break;
    }
    // One is promised to us: it will be found.
    for (;;) {
      const blocks = header[H_INODE_BLOCKS];
      if (this.cursor >= blocks) this.cursor = 0;
      const bits = shared.inodeBits[this.cursor];
      const low = ~bits & 0xffff & -(~bits & 0xffff);
      if (low !== 0) {
        if ((Atomics.or(shared.inodeBits, this.cursor, low) & low) === 0) {
          // Once set it stays, and an atomic operation is a call.
          if ((shared.inodeChecked[this.cursor] & low) === 0)
            Atomics.or(shared.inodeChecked, this.cursor, low);
          return this.cursor * INODES_PER_BLOCK + (31 - Math.clz32(low));
        }
        continue;
      }
      this.cursor++;
    }
  }

  /** The slot on the media says free (again). */
  release(index: number): void {
    Atomics.and(this.shared.inodeBits, index >>> 4, ~(1 << (index & 15)));
    Atomics.add(this.shared.header, H_FREE_INODES, 1);
  }

  /** Stage words of the table's record for the copy of the superblock too. */
  private copyRecord(field: number, count: number): void {
    for (let word = SB_INODE_TABLE + field; word < SB_INODE_TABLE + field + count; word++)
      this.journal.set(SUPER_BACKUP_BLOCK, word, this.journal.get(SUPER_BLOCK, word));
  }

  private grow(): number {
    const shared = this.shared;
    const header = shared.header;
    shared.lockWord(H_INODE_TABLE_LOCK);
    if (Atomics.load(header, H_FREE_INODES) > 0) {
      shared.unlockWord(H_INODE_TABLE_LOCK);
      return 0;
    }
    const first = header[H_INODE_BLOCKS];
    let count = Math.min(GROW_BLOCKS, shared.inodeBlockMax - first);
    if (count <= 0) {
      shared.unlockWord(H_INODE_TABLE_LOCK);
      return -ENOSPC;
    }
    if (!this.allocator.reserve(count + this.mapping.nodesFor(first, first + count - 1), false)) {
      count = 1;
      if (!this.allocator.reserve(count + this.mapping.nodesFor(first, first), false)) {
        shared.unlockWord(H_INODE_TABLE_LOCK);
        return -ENOSPC;
      }
    }
    this.journal.begin();
    this.mapping.begin();
    let error = 0;
    for (let index = 0; index < count && error === 0; index++) {
      const block = this.allocator.takeMetadata();
      if (block < 0) {
        error = block;
        break;
      }
      this.pmem.zero(block, 0, BLOCK_SIZE);
      error = this.mapping.set(SUPER_BLOCK, SB_INODE_TABLE, first + index, block, MAP_PRESENT);
      shared.inodeBlocks[first + index] = block;
      Atomics.store(shared.inodeBits, first + index, 0);
      Atomics.store(shared.inodeChecked, first + index, 0xffff);
    }
    if (error === 0) {
      this.journal.set64(SUPER_BLOCK, SB_INODE_TABLE + I_SIZE, (first + count) * BLOCK_SIZE);
      this.copyRecord(I_SIZE, 2);
      this.copyRecord(X_MAP_ROOT, 2);
      this.mapping.flushFresh();
      this.journal.commit();
      this.allocator.unreserve();
      Atomics.store(header, H_INODE_BLOCKS, first + count);
      Atomics.add(header, H_FREE_INODES, count * INODES_PER_BLOCK);
    } else {
      this.journal.abort();
      this.allocator.abandon();
    }
    shared.unlockWord(H_INODE_TABLE_LOCK);
    return error;
  }
}
