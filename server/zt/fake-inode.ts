// SPDX-License-Identifier: BSD-3-Clause

/** What the fake kernel knows of an inode: a cookie of the server, and the `zus_inode` that both sides see. */

import { constants } from 'node:fs';
import { zus_inode } from '../abi/layout.ts';

const { S_IFMT, S_IFDIR } = constants;

export interface Stat {
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** 4 KiB blocks. */
  readonly blocks: number;
  /** Nanoseconds since the epoch. */
  readonly atime: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
  readonly rdev: number;
  readonly flags: number;
  readonly generation: number;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly nameBytes: Uint8Array;
  readonly ino: number;
  readonly type: number;
  /** Where to continue behind it. */
  readonly pos: bigint;
}

export interface Extent {
  readonly logical: number;
  readonly physical: number;
  readonly length: number;
  readonly flags: number;
}

/** The VFS inode: a cookie of the server and the zus_inode that both sides see. */
export class FakeInode {
  readonly cookie: number;
  /** Byte offset of the zus_inode in the mount's memory. */
  readonly dpp: number;
  /** Users beside the caches: open files. */
  opens = 0;
  readonly #view: DataView;

  constructor(memory: Uint8Array, cookie: number, dpp: number) {
    this.cookie = cookie;
    this.dpp = dpp;
    this.#view = new DataView(memory.buffer, memory.byteOffset + dpp, zus_inode.SIZE);
  }

  /** The zus_inode itself. */
  get raw(): DataView {
    return this.#view;
  }

  get mode(): number {
    return this.#view.getUint16(zus_inode.i_mode, true);
  }

  get nlink(): number {
    return this.#view.getUint32(zus_inode.i_nlink, true);
  }

  get size(): number {
    return Number(this.#view.getBigUint64(zus_inode.i_size, true));
  }

  get isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }

  stat(): Stat {
    const view = this.#view;
    return {
      ino: Number(view.getBigUint64(zus_inode.i_ino, true)),
      mode: this.mode,
      nlink: this.nlink,
      uid: view.getUint32(zus_inode.i_uid, true),
      gid: view.getUint32(zus_inode.i_gid, true),
      size: this.size,
      blocks: Number(view.getBigUint64(zus_inode.i_blocks, true)),
      atime: view.getBigInt64(zus_inode.i_atime, true),
      mtime: view.getBigInt64(zus_inode.i_mtime, true),
      ctime: view.getBigInt64(zus_inode.i_ctime, true),
      rdev: view.getUint32(zus_inode.i_rdev, true),
      flags: view.getUint16(zus_inode.i_flags, true),
      generation: Number(view.getBigUint64(zus_inode.i_generation, true)),
    };
  }
}
