// SPDX-License-Identifier: BSD-3-Clause

import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { EISDIR, ENOTDIR } from './errno.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from './format.ts';
import { slotWord } from './inodes.ts';

/** Whether an operation changes something, which a read-only mount refuses. */
export const READS = false;
export const CHANGES = true;

/**
 * An inode that an operation works on: found by its cookie in the command, checked, and located on the media. The
 * operations make these once and use them again, so that finding an inode makes no objects.
 */
export class InodeInHand {
  private readonly core: Core;
  index = 0;
  /** Block of the inode table that holds it, and the word where it starts there. */
  ib = 0;
  iw = 0;

  constructor(core: Core) {
    this.core = core;
  }

  /** Start an operation on the inode whose cookie is at `offset`. Returns 0 or -errno. */
  open(op: Operation, offset: number, change: boolean): number {
    const refused = this.core.refuse(change);
    return refused < 0 ? refused : this.take(op, offset);
  }

  /** As `open`, for what only regular files have. */
  openFile(op: Operation, offset: number, change: boolean): number {
    const error = this.open(op, offset, change);
    if (error < 0) return error;
    return this.type === S_IFREG ? 0 : -EISDIR;
  }

  openDirectory(op: Operation, offset: number, change: boolean): number {
    const error = this.open(op, offset, change);
    if (error < 0) return error;
    return this.type === S_IFDIR ? 0 : -ENOTDIR;
  }

  /** Another inode of the same operation. */
  take(op: Operation, offset: number): number {
    const index = this.core.indexAt(op, offset);
    if (index < 0) return index;
    const ib = this.core.inodes.blockOf(index);
    if (ib < 0) return ib;
    this.index = index;
    this.ib = ib;
    this.iw = slotWord(index);
    return 0;
  }

  /** S_IFREG and so on. */
  get type(): number {
    return this.core.mode(this.ib, this.iw) & S_IFMT;
  }

  get isDirectory(): boolean {
    return this.type === S_IFDIR;
  }
}
