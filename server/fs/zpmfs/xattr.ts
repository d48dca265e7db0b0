// SPDX-License-Identifier: BSD-3-Clause

import { FLAG, zufs_ioc_hdr, zufs_ioc_xattr } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { E2BIG, EEXIST, EINVAL, ENODATA, ENOSPC, EOPNOTSUPP, ERANGE } from './errno.ts';
import { XATTR_BLOCK_BYTES, XATTR_BLOCKS_MAX, XATTR_QUOTA } from './format.ts';
import { CHANGES, InodeInHand, READS } from './in-hand.ts';
import { RECORD_HEADER, XattrStream } from './xattr-stream.ts';

const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
const STREAM_MAX = XATTR_BLOCKS_MAX * XATTR_BLOCK_BYTES;

const PREFIX: readonly Uint8Array[] = ['', 'security.', 'system.', 'trusted.', 'user.'].map((prefix) =>
  new TextEncoder().encode(prefix),
);
const ACL_NAMES: readonly Uint8Array[] = ['posix_acl_access', 'posix_acl_default'].map((name) =>
  new TextEncoder().encode(name),
);

/** Extended attributes, as applications know them. */
export class Xattrs {
  private readonly core: Core;
  private readonly inode: InodeInHand;
  /** The attributes of the inode at hand. */
  private readonly stream: XattrStream;
  /** Bytes of it that are no attributes of applications. */
  private hidden = 0;
  /** What `find` found: where the record starts, its value, and where the next one starts. */
  private recordAt = 0;
  private valueAt = 0;
  private nextAt = 0;

  constructor(core: Core) {
    this.core = core;
    this.inode = new InodeInHand(core);
    this.stream = new XattrStream(core);
  }

  /** Bring the attributes of the command's inode into the stream; 0 or -errno. */
  private loadOf(op: Operation): number {
    const core = this.core;
    const opened = this.inode.open(op, zufs_ioc_xattr.zus_ii, READS);
    if (opened < 0) return opened;
    const { index, ib, iw } = this.inode;
    core.shared.lockShared(index);
    const error = this.stream.load(ib, iw);
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
    for (let index = 0; index < size; index++) op.u8[to + index] = this.stream.bytes[from + index];
    op.u16[outLength] = 4 + size;
    return 0;
  }

  list(op: Operation): number {
    const error = this.loadOf(op);
    if (error < 0) return error;
    const withTrusted = (op.u16[(op.base + zufs_ioc_xattr.ioc_flags) >>> 1] & FLAG.ZUFS_XATTR_TRUSTED) !== 0;
    // The names are gathered in front of the records: a name and its prefix take less than a record, but for the
    // longest prefix, so they go behind the stream.
    let to = this.stream.length;
    for (let at = 0; at < this.stream.length; ) {
      const next = this.stream.recordEnd(at);
      if (next < 0) return next;
      const type = this.stream.bytes[at + 2];
      if (type !== XATTR_QUOTA && (type !== FLAG.X_F_TRUSTED || withTrusted)) {
        const prefix = PREFIX[type];
        const nameLength = this.stream.bytes[at + 3];
        if (to + prefix.length + nameLength + 1 > this.stream.bytes.length) return -E2BIG;
        for (let byte = 0; byte < prefix.length; byte++) this.stream.bytes[to++] = prefix[byte];
        for (let byte = 0; byte < nameLength; byte++)
          this.stream.bytes[to++] = this.stream.bytes[at + RECORD_HEADER + byte];
        this.stream.bytes[to++] = 0;
      }
      at = next;
    }
    return this.reply(op, this.stream.length, to - this.stream.length);
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
    const error = this.stream.load(ib, iw);
    if (error < 0) return error;
    const found = this.findNamed(op);
    if (found < 0) return found;
    const remove = size === 0 && !isEmpty;
    if (remove) {
      if (found === 0) return type === FLAG.X_F_SYSTEM && (flags & XATTR_REPLACE) === 0 ? 0 : -ENODATA;
      this.stream.cut(this.recordAt, this.nextAt);
    } else {
      if (found === 1 && (flags & XATTR_CREATE) !== 0) return -EEXIST;
      if (found === 0 && (flags & XATTR_REPLACE) !== 0) return -ENODATA;
      if (found === 1) this.stream.cut(this.recordAt, this.nextAt);
      const nameLength = nameField - 1;
      const needed = RECORD_HEADER + nameLength + size;
      if (this.stream.length - this.hidden + needed > STREAM_MAX) return -ENOSPC;
      const stream = this.stream.bytes;
      let to = this.stream.length;
      stream[to] = size;
      stream[to + 1] = size >>> 8;
      stream[to + 2] = type;
      stream[to + 3] = nameLength;
      to += RECORD_HEADER;
      const from = op.base + zufs_ioc_xattr.buf;
      for (let byte = 0; byte < nameLength; byte++) stream[to + byte] = op.u8[from + byte];
      to += nameLength;
      for (let byte = 0; byte < size; byte++) stream[to + byte] = op.u8[from + nameField + byte];
      this.stream.length += needed;
    }
    return this.stream.store(index, ib, iw, remove, true);
  }

  /** Look for the name in the command. Returns 1, 0, or an error. */
  private findNamed(op: Operation): number {
    const core = this.core;
    const type = core.u32(op, zufs_ioc_xattr.type);
    const nameLength = op.u16[(op.base + zufs_ioc_xattr.name_len) >>> 1] - 1;
    if (type === 0 || type >= PREFIX.length || nameLength < 1 || nameLength > 255) return -EINVAL;
    const name = op.base + zufs_ioc_xattr.buf;
    if (type === FLAG.X_F_SYSTEM && !this.isAcl(op.u8, name, nameLength)) return -EOPNOTSUPP;
    this.hidden = 0;
    for (let at = 0; at < this.stream.length; ) {
      const next = this.stream.recordEnd(at);
      if (next < 0) return next;
      if (this.stream.bytes[at + 2] === XATTR_QUOTA) this.hidden += next - at;
      if (this.stream.bytes[at + 2] === type && this.stream.bytes[at + 3] === nameLength) {
        let same = 0;
        while (same < nameLength && this.stream.bytes[at + RECORD_HEADER + same] === op.u8[name + same])
          same++;
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
}
