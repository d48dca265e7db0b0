// SPDX-License-Identifier: BSD-3-Clause

import { zufs_dir_entry, zufs_ioc_hdr, zufs_ioc_readdir } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { EINVAL, ENOTDIR } from './errno.ts';
import {
  BLOCK_SIZE,
  DR_HASH,
  DR_INO,
  DR_NAME,
  DR_SHAPE,
  DR_TIE,
  I_PARENT,
  S_IFDIR,
  S_IFMT,
  TWO_32,
} from './format.ts';
import { InodeInHand, READS } from './in-hand.ts';

const FIRST_POSITION = 2 ** 21;
const POSITIONS_PER_HASH = 2 ** 20;
const DT_DIR = 4;
const DOT = 46;

/** READDIR: the names of a directory, in the order of their positions. */
export class Listing {
  private readonly core: Core;
  private readonly inode: InodeInHand;

  constructor(core: Core) {
    this.core = core;
    this.inode = new InodeInHand(core);
  }

  readdir(op: Operation): number {
    const core = this.core;
    const opened = this.inode.open(op, zufs_ioc_readdir.dir_ii, READS);
    if (opened < 0) return opened;
    const { directory, pmem } = core;
    const { index, ib, iw } = this.inode;
    if ((core.mode(ib, iw) & S_IFMT) !== S_IFDIR) return -ENOTDIR;
    const from = core.windowOffset(op);
    const end = from + core.windowLength(op);
    let at = from;
    let position = core.u64(op, zufs_ioc_readdir.pos);
    let more = 0;
    if (position === 0) {
      if (at + 24 > end) more = 1;
      else {
        at = this.putEntry(op, at, index, DT_DIR, 1, 0, op.u8, 0, 1);
        op.window[at - 24 + zufs_dir_entry.zstr_name] = DOT;
        position = 1;
      }
    }
    if (more === 0 && position === 1) {
      if (at + 24 > end) more = 1;
      else {
        at = this.putEntry(op, at, pmem.load(ib, iw + I_PARENT), DT_DIR, 2, 0, op.u8, 0, 2);
        op.window[at - 24 + zufs_dir_entry.zstr_name] = DOT;
        op.window[at - 24 + zufs_dir_entry.zstr_name + 1] = DOT;
        position = 2;
      }
    }
    if (position < FIRST_POSITION && position >= 2) position = FIRST_POSITION;
    let hash = Math.floor((position - FIRST_POSITION) / POSITIONS_PER_HASH);
    let tie = (position - FIRST_POSITION) % POSITIONS_PER_HASH;
    while (more === 0 && hash < TWO_32) {
      const count = directory.collect(ib, iw, index, hash | 0, tie);
      if (count < 0) return count;
      const leaf = directory.leafRead;
      for (let entry = 0; entry < count; entry++) {
        const record = directory.recordOf(entry);
        const shape = pmem.load(leaf, record + DR_SHAPE);
        const length = (shape >>> 16) & 0xff;
        if (at + ((zufs_dir_entry.zstr_name + length + 7) & ~7) > end) {
          more = 1;
          break;
        }
        position =
          FIRST_POSITION +
          pmem.load(leaf, record + DR_HASH) * POSITIONS_PER_HASH +
          pmem.load(leaf, record + DR_TIE) +
          1;
        const name = leaf * BLOCK_SIZE + (record + DR_NAME) * 4;
        at = this.putEntry(
          op,
          at,
          pmem.load(leaf, record + DR_INO),
          shape >>> 24,
          (position % TWO_32) | 0,
          Math.floor(position / TWO_32),
          pmem.u8,
          name,
          length,
        );
      }
      hash = directory.nextHash;
      tie = 0;
    }
    core.setU64(op, zufs_ioc_readdir.pos, position);
    op.u8[op.base + zufs_ioc_readdir.more] = more;
    core.setU32(op, zufs_ioc_hdr.len, at - from);
    // Not even one entry fits: the kernel has to bring a larger buffer.
    return more === 1 && at === from ? -EINVAL : 0;
  }

  private putEntry(
    op: Operation,
    at: number,
    ino: number,
    type: number,
    low: number,
    high: number,
    name: Uint8Array,
    nameAt: number,
    length: number,
  ): number {
    const window = op.window;
    const bytes = (zufs_dir_entry.zstr_name + length + 7) & ~7;
    window[at] = ino;
    window[at + 1] = ino >>> 8;
    window[at + 2] = ino >>> 16;
    window[at + 3] = ino >>> 24;
    window[at + 4] = 0;
    window[at + 5] = 0;
    window[at + 6] = 0;
    window[at + 7] = 0;
    window[at + 8] = type;
    window[at + 9] = low;
    window[at + 10] = low >>> 8;
    window[at + 11] = low >>> 16;
    window[at + 12] = low >>> 24;
    window[at + 13] = high;
    window[at + 14] = high >>> 8;
    window[at + 15] = high >>> 16;
    window[at + 16] = length;
    for (let index = 0; index < length; index++) window[at + 17 + index] = name[nameAt + index];
    for (let index = 17 + length; index < bytes; index++) window[at + index] = 0;
    return at + bytes;
  }
}
