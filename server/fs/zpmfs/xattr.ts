// SPDX-License-Identifier: BSD-3-Clause

import { CONST, FLAG, zufs_ioc_hdr, zufs_ioc_xattr } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { E2BIG, EEXIST, EINVAL, ENODATA, ENOSPC, EOPNOTSUPP, ERANGE, EUCLEAN } from './errno.ts';
import {
  BLOCK_SIZE,
  I_BLOCKS,
  I_CTIME,
  X_XATTR_BLOCK,
  X_XATTR_BLOCKS,
  X_XATTR_INLINE,
  X_XATTR_INLINE_BYTES,
  XATTR_BLOCK_BYTES,
  XATTR_INLINE_BYTES,
  XATTR_MAGIC,
  XB_BYTES,
  XB_DATA,
  XB_MAGIC,
  XB_NEXT,
  XB_OWNER,
} from './format.ts';
import { CHANGES, InodeInHand, READS } from './in-hand.ts';
import { XATTR_BLOCKS_MAX } from './scan.ts';

const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
const RECORD_HEADER = 4;
const STREAM_MAX = XATTR_BLOCKS_MAX * XATTR_BLOCK_BYTES;

const PREFIX: readonly Uint8Array[] = ['', 'security.', 'system.', 'trusted.', 'user.'].map((prefix) =>
  new TextEncoder().encode(prefix),
);
const ACL_NAMES: readonly Uint8Array[] = ['posix_acl_access', 'posix_acl_default'].map((name) =>
  new TextEncoder().encode(name),
);

/**
 * Extended attributes: a stream of records (value length, type, name length, name, value), in the inode while it is
 * small, else in a chain of blocks. Every change writes a new stream and puts it in the place of the old one by one
 * transaction.
 */
export class Xattrs {
  private readonly core: Core;
  private readonly inode: InodeInHand;
  /** The stream of the inode at hand, and room for one more value. */
  private readonly stream = new Uint8Array(STREAM_MAX + CONST.ZUS_API_MAP_MAX_SIZE / 32);
  private readonly streamAddress: number;
  private length = 0;
  /** What `find` found: where the record starts, its value, and where the next one starts. */
  private recordAt = 0;
  private valueAt = 0;
  private nextAt = 0;

  constructor(core: Core) {
    this.core = core;
    this.inode = new InodeInHand(core);
    this.streamAddress = core.pmem.addon.addressOf(this.stream.buffer);
  }

  /** Bring the attributes of the command's inode into the stream; 0 or -errno. */
  private loadOf(op: Operation): number {
    const core = this.core;
    const opened = this.inode.open(op, zufs_ioc_xattr.zus_ii, READS);
    if (opened < 0) return opened;
    const { index, ib, iw } = this.inode;
    core.shared.lockShared(index);
    const error = this.load(ib, iw);
    core.shared.unlockShared(index);
    return error;
  }

  get(op: Operation): number {
    const error = this.loadOf(op);
    if (error < 0) return error;
    const found = this.findNamed(op);
    if (found <= 0) return found === 0 ? -ENODATA : found;
    return this.reply(op, this.valueAt, this.nextAt - this.valueAt);
  }

  /** Answer with bytes of the stream, or with how many they are. */
  private reply(op: Operation, from: number, size: number): number {
    const core = this.core;
    const room = core.u32(op, zufs_ioc_xattr.user_buf_size);
    const outLength = (op.base + zufs_ioc_hdr.out_len) >>> 1;
    core.setU32(op, zufs_ioc_xattr.user_buf_size, size);
    op.u16[outLength] = 4;
    if (room === 0) return 0;
    if (size > room || size + 4 > op.u16[(op.base + zufs_ioc_hdr.out_max) >>> 1]) return -ERANGE;
    const to = op.base + zufs_ioc_xattr.buf;
    for (let index = 0; index < size; index++) op.u8[to + index] = this.stream[from + index];
    op.u16[outLength] = 4 + size;
    return 0;
  }

  list(op: Operation): number {
    const error = this.loadOf(op);
    if (error < 0) return error;
    const withTrusted = (op.u16[(op.base + zufs_ioc_xattr.ioc_flags) >>> 1] & FLAG.ZUFS_XATTR_TRUSTED) !== 0;
    // The names are gathered in front of the records: a name and its prefix take less than a record, but for the
    // longest prefix, so they go behind the stream.
    let to = this.length;
    for (let at = 0; at < this.length; ) {
      const next = this.recordEnd(at);
      if (next < 0) return next;
      const type = this.stream[at + 2];
      if (type !== FLAG.X_F_TRUSTED || withTrusted) {
        const prefix = PREFIX[type];
        const nameLength = this.stream[at + 3];
        if (to + prefix.length + nameLength + 1 > this.stream.length) return -E2BIG;
        for (let byte = 0; byte < prefix.length; byte++) this.stream[to++] = prefix[byte];
        for (let byte = 0; byte < nameLength; byte++)
          this.stream[to++] = this.stream[at + RECORD_HEADER + byte];
        this.stream[to++] = 0;
      }
      at = next;
    }
    return this.reply(op, this.length, to - this.length);
  }

  set(op: Operation): number {
    const core = this.core;
    const opened = this.inode.open(op, zufs_ioc_xattr.zus_ii, CHANGES);
    if (opened < 0) return opened;
    const { index, ib, iw } = this.inode;
    core.shared.lockExclusive(index);
    const error = this.change(op, index, ib, iw);
    core.shared.unlockExclusive(index);
    return error;
  }

  private change(op: Operation, index: number, ib: number, iw: number): number {
    const core = this.core;
    const flags = core.u32(op, zufs_ioc_xattr.flags);
    const size = core.u32(op, zufs_ioc_xattr.user_buf_size);
    const isEmpty = (op.u16[(op.base + zufs_ioc_xattr.ioc_flags) >>> 1] & FLAG.ZUFS_XATTR_SET_EMPTY) !== 0;
    const type = core.u32(op, zufs_ioc_xattr.type);
    const nameField = op.u16[(op.base + zufs_ioc_xattr.name_len) >>> 1];
    const inLength = op.u16[(op.base + zufs_ioc_hdr.in_len) >>> 1];
    if (zufs_ioc_xattr.buf + nameField + size > inLength) return -EINVAL;
    const error = this.load(ib, iw);
    if (error < 0) return error;
    const found = this.findNamed(op);
    if (found < 0) return found;
    const remove = size === 0 && !isEmpty;
    if (remove) {
      if (found === 0) return type === FLAG.X_F_SYSTEM && (flags & XATTR_REPLACE) === 0 ? 0 : -ENODATA;
      this.cut();
    } else {
      if (found === 1 && (flags & XATTR_CREATE) !== 0) return -EEXIST;
      if (found === 0 && (flags & XATTR_REPLACE) !== 0) return -ENODATA;
      if (found === 1) this.cut();
      const nameLength = nameField - 1;
      const needed = RECORD_HEADER + nameLength + size;
      if (this.length + needed > STREAM_MAX) return -ENOSPC;
      const { stream } = this;
      let to = this.length;
      stream[to] = size;
      stream[to + 1] = size >>> 8;
      stream[to + 2] = type;
      stream[to + 3] = nameLength;
      to += RECORD_HEADER;
      const from = op.base + zufs_ioc_xattr.buf;
      for (let byte = 0; byte < nameLength; byte++) stream[to + byte] = op.u8[from + byte];
      to += nameLength;
      for (let byte = 0; byte < size; byte++) stream[to + byte] = op.u8[from + nameField + byte];
      this.length += needed;
    }
    return this.store(index, ib, iw, remove);
  }

  private cut(): void {
    this.stream.copyWithin(this.recordAt, this.nextAt, this.length);
    this.length -= this.nextAt - this.recordAt;
  }

  /** Gather the attributes of an inode in `stream`. Returns 0 or -EUCLEAN. */
  private load(ib: number, iw: number): number {
    const { pmem } = this.core;
    this.length = 0;
    const count = pmem.load(ib, iw + X_XATTR_BLOCKS);
    if (count > XATTR_BLOCKS_MAX) return -EUCLEAN;
    if (count === 0) {
      const bytes = pmem.load(ib, iw + X_XATTR_INLINE_BYTES);
      if (bytes > XATTR_INLINE_BYTES) return -EUCLEAN;
      if (bytes > 0) pmem.copyOut(this.streamAddress, ib, (iw + X_XATTR_INLINE) * 4, bytes);
      this.length = bytes;
      return 0;
    }
    let block = pmem.load(ib, iw + X_XATTR_BLOCK);
    for (let number = 0; number < count; number++) {
      if (!pmem.inRange(block) || pmem.load(block, XB_MAGIC) !== XATTR_MAGIC) return -EUCLEAN;
      const bytes = pmem.load(block, XB_BYTES);
      if (bytes > XATTR_BLOCK_BYTES) return -EUCLEAN;
      pmem.copyOut(this.streamAddress + this.length, block, XB_DATA * 4, bytes);
      this.length += bytes;
      block = pmem.load(block, XB_NEXT);
    }
    return 0;
  }

  /** Where the record behind the one at `at` starts, or -EUCLEAN. */
  private recordEnd(at: number): number {
    const { stream } = this;
    if (at + RECORD_HEADER > this.length) return -EUCLEAN;
    const end = at + RECORD_HEADER + stream[at + 3] + (stream[at] | (stream[at + 1] << 8));
    const type = stream[at + 2];
    if (end > this.length || stream[at + 3] === 0 || type === 0 || type >= PREFIX.length) return -EUCLEAN;
    return end;
  }

  /** Look for the name in the command. Returns 1, 0, or an error. */
  private findNamed(op: Operation): number {
    const core = this.core;
    const type = core.u32(op, zufs_ioc_xattr.type);
    const nameLength = op.u16[(op.base + zufs_ioc_xattr.name_len) >>> 1] - 1;
    if (type === 0 || type >= PREFIX.length || nameLength < 1 || nameLength > 255) return -EINVAL;
    const name = op.base + zufs_ioc_xattr.buf;
    if (type === FLAG.X_F_SYSTEM && !this.isAcl(op.u8, name, nameLength)) return -EOPNOTSUPP;
    for (let at = 0; at < this.length; ) {
      const next = this.recordEnd(at);
      if (next < 0) return next;
      if (this.stream[at + 2] === type && this.stream[at + 3] === nameLength) {
        let same = 0;
        while (same < nameLength && this.stream[at + RECORD_HEADER + same] === op.u8[name + same]) same++;
        if (same === nameLength) {
          this.recordAt = at;
          this.valueAt = at + RECORD_HEADER + nameLength;
          this.nextAt = next;
          return 1;
        }
      }
      at = next;
    }
    return 0;
  }

  private isAcl(bytes: Uint8Array, at: number, length: number): boolean {
    for (let which = 0; which < ACL_NAMES.length; which++) {
      const name = ACL_NAMES[which];
      if (name.length !== length) continue;
      let same = 0;
      while (same < length && name[same] === bytes[at + same]) same++;
      if (same === length) return true;
    }
    return false;
  }

  private store(index: number, ib: number, iw: number, privileged: boolean): number {
    const { journal, allocator, pmem } = this.core;
    const oldFirst = pmem.load(ib, iw + X_XATTR_BLOCK);
    const oldCount = pmem.load(ib, iw + X_XATTR_BLOCKS);
    const inline = this.length <= XATTR_INLINE_BYTES;
    const count = inline ? 0 : Math.ceil(this.length / XATTR_BLOCK_BYTES);
    if (count > 0 && !allocator.reserve(count, privileged)) return -ENOSPC;
    // From the last block to the first, as each names the one behind it.
    let first = 0;
    for (let number = count - 1; number >= 0; number--) {
      const block = allocator.takeMetadata();
      const from = number * XATTR_BLOCK_BYTES;
      const bytes = Math.min(XATTR_BLOCK_BYTES, this.length - from);
      pmem.zero(block, 0, BLOCK_SIZE);
      pmem.copyIn(block, XB_DATA * 4, this.streamAddress + from, bytes);
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
          word |= this.stream[at + byte] << (byte * 8);
        journal.set(ib, iw + X_XATTR_INLINE + (at >>> 2), word >>> 0);
      }
    }
    if (count !== oldCount) journal.add64(ib, iw + I_BLOCKS, count - oldCount);
    this.core.stampTime(ib, iw + I_CTIME);
    journal.commit();
    releaseXattrChain(this.core, oldFirst, oldCount);
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
