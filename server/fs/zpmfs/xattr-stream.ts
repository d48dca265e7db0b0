// SPDX-License-Identifier: BSD-3-Clause

import type { Core } from './core.ts';
import { EDQUOT, ENOSPC, EUCLEAN } from './errno.ts';
import {
  BLOCK_SIZE,
  I_BLOCKS,
  I_CTIME,
  ROOT_INODE,
  ROOT_XATTR_BLOCKS_MAX,
  X_XATTR_BLOCK,
  X_XATTR_BLOCKS,
  X_XATTR_INLINE,
  X_XATTR_INLINE_BYTES,
  XATTR_BLOCK_BYTES,
  XATTR_INLINE_BYTES,
  XATTR_MAGIC,
  XATTR_QUOTA,
  XB_BYTES,
  XB_DATA,
  XB_MAGIC,
  XB_NEXT,
  XB_OWNER,
  xattrBlocksMax,
} from './format.ts';

export const RECORD_HEADER = 4;
/** Room for one more value, and for the names of a list. */
const MORE_ROOM = 1 << 17;

/**
 * The attributes of one inode at a time: a stream of records (value length, type, name length, name, value), in the inode while it is
 * small, else in a chain of blocks. A change writes a new stream and puts it in the place of the old one by one transaction.
 */
export class XattrStream {
  private readonly core: Core;
  /** As long as that of the root may be; what is never touched takes no memory. */
  readonly bytes = new Uint8Array(ROOT_XATTR_BLOCKS_MAX * XATTR_BLOCK_BYTES + MORE_ROOM);
  private readonly address: number;
  length = 0;

  constructor(core: Core) {
    this.core = core;
    this.address = core.pmem.addon.addressOf(this.bytes.buffer);
  }

  /** Take the bytes [from, to) out. */
  cut(from: number, to: number): void {
    this.bytes.copyWithin(from, to, this.length);
    this.length -= to - from;
  }

  /** Gather the attributes of an inode in `bytes`. Returns 0 or -EUCLEAN. */
  load(ib: number, iw: number): number {
    const { pmem } = this.core;
    this.length = 0;
    const count = pmem.load(ib, iw + X_XATTR_BLOCKS);
    if (count > ROOT_XATTR_BLOCKS_MAX) return -EUCLEAN;
    if (count === 0) {
      const bytes = pmem.load(ib, iw + X_XATTR_INLINE_BYTES);
      if (bytes > XATTR_INLINE_BYTES) return -EUCLEAN;
      if (bytes > 0) pmem.copyOut(this.address, ib, (iw + X_XATTR_INLINE) * 4, bytes);
      this.length = bytes;
      return 0;
    }
    let block = pmem.load(ib, iw + X_XATTR_BLOCK);
    for (let number = 0; number < count; number++) {
      if (!pmem.inRange(block) || pmem.load(block, XB_MAGIC) !== XATTR_MAGIC) return -EUCLEAN;
      const bytes = pmem.load(block, XB_BYTES);
      if (bytes > XATTR_BLOCK_BYTES) return -EUCLEAN;
      pmem.copyOut(this.address + this.length, block, XB_DATA * 4, bytes);
      this.length += bytes;
      block = pmem.load(block, XB_NEXT);
    }
    return 0;
  }

  /** Where the record behind the one at `at` starts, or -EUCLEAN. */
  recordEnd(at: number): number {
    const { bytes } = this;
    if (at + RECORD_HEADER > this.length) return -EUCLEAN;
    const end = at + RECORD_HEADER + bytes[at + 3] + (bytes[at] | (bytes[at + 1] << 8));
    const type = bytes[at + 2];
    if (end > this.length || bytes[at + 3] === 0 || type === 0 || type > XATTR_QUOTA) return -EUCLEAN;
    return end;
  }

  /**
   * Write the stream back; `privileged`: the reserve may be used; `stamped`: it is a change of the inode to see. Returns 0, -ENOSPC, or
   * -EDQUOT.
   */
  store(index: number, ib: number, iw: number, privileged: boolean, stamped: boolean): number {
    const { journal, allocator, pmem } = this.core;
    const quota = index === ROOT_INODE ? null : this.core.quota;
    const oldFirst = pmem.load(ib, iw + X_XATTR_BLOCK);
    const oldCount = pmem.load(ib, iw + X_XATTR_BLOCKS);
    const inline = this.length <= XATTR_INLINE_BYTES;
    const count = inline ? 0 : Math.ceil(this.length / XATTR_BLOCK_BYTES);
    if (count > xattrBlocksMax(index)) return -ENOSPC;
    const more = count - oldCount;
    if (quota !== null && more > 0 && quota.takeBlocks(ib, iw, more) < 0) return -EDQUOT;
    if (count > 0 && !allocator.reserve(count, privileged)) {
      if (quota !== null && more > 0) quota.giveBlocks(ib, iw, more);
      return -ENOSPC;
    }
    // From the last block to the first, as each names the one behind it.
    let first = 0;
    for (let number = count - 1; number >= 0; number--) {
      const block = allocator.takeMetadata();
      if (block < 0) {
        allocator.abandon();
        if (quota !== null && more > 0) quota.giveBlocks(ib, iw, more);
        return block;
      }
      const from = number * XATTR_BLOCK_BYTES;
      const bytes = Math.min(XATTR_BLOCK_BYTES, this.length - from);
      pmem.zero(block, 0, BLOCK_SIZE);
      pmem.copyIn(block, XB_DATA * 4, this.address + from, bytes);
      pmem.store(block, XB_MAGIC, XATTR_MAGIC);
      pmem.store(block, XB_OWNER, index);
      pmem.store(block, XB_NEXT, first);
      pmem.store(block, XB_BYTES, bytes);
      pmem.writeBack(block, 0, XB_DATA * 4);
      first = block;
    }
    this.core.readClock();
    journal.begin();
    journal.set(ib, iw + X_XATTR_BLOCK, first);
    journal.set(ib, iw + X_XATTR_BLOCKS, count);
    journal.set(ib, iw + X_XATTR_INLINE_BYTES, inline ? this.length : 0);
    if (inline) {
      for (let at = 0; at < this.length; at += 4) {
        let word = 0;
        for (let byte = 0; byte < 4 && at + byte < this.length; byte++)
          word |= this.bytes[at + byte] << (byte * 8);
        journal.set(ib, iw + X_XATTR_INLINE + (at >>> 2), word >>> 0);
      }
    }
    if (more !== 0) journal.add64(ib, iw + I_BLOCKS, more);
    if (stamped) this.core.stampTime(ib, iw + I_CTIME);
    journal.commit();
    releaseXattrChain(this.core, oldFirst, oldCount);
    if (quota !== null && more < 0) quota.giveBlocks(ib, iw, -more);
    return 0;
  }
}

/** Free the attribute blocks of an inode that does not refer to them any more. */
export function releaseXattrChain(core: Core, first: number, count: number): void {
  const { pmem, allocator } = core;
  let block = first;
  for (let index = 0; index < count && pmem.inRange(block); index++) {
    if (pmem.load(block, XB_MAGIC) !== XATTR_MAGIC) return;
    const next = pmem.load(block, XB_NEXT);
    allocator.release(block);
    block = next;
  }
}
