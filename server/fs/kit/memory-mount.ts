// SPDX-License-Identifier: BSD-3-Clause

/** What a file system that lies in memory need not write itself (README.md). */

import * as abi from '../../abi/layout.ts';
import type {
  AttachRequest,
  Errno,
  FileSystem,
  FsInfo,
  MountedFileSystem,
  MountRequest,
  MountResult,
  Operation,
} from '../filesystem.ts';
import { readU64, writeU64 } from '../words.ts';
import { MemoryTree, wantsName } from './memory-tree.ts';

const { zufs_ioc_IO, zufs_ioc_new_inode, zufs_ioc_rename, zufs_ioc_dentry, zufs_ioc_lookup, FLAG } = abi;
const errno = {
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOTTY: 25,
  ENOSPC: 28,
  ENOTEMPTY: 39,
  ENODATA: 61,
  EOPNOTSUPP: 95,
};
const RENAME_EXCHANGE = 2;
const RENAME_WHITEOUT = 4;

/**
 * A mounted file system whose names and attributes lie in memory: everything but the contents of files. Derive yours from it
 * and answer `read` and `write`; what you do not answer says that there is no such thing.
 */
export abstract class MemoryMount implements MountedFileSystem {
  protected readonly memory: MemoryTree;
  readonly #slot: number;
  readonly #magic: number;

  constructor(request: AttachRequest, info: FsInfo) {
    this.memory = new MemoryTree(request.addon, request.memory);
    this.#slot = request.slot;
    this.#magic = info.magic;
  }

  /** Index of the inode that the cookie at `offset` of the command names. */
  protected index(op: Operation, offset: number): number {
    return op.u32[(op.base + offset) >> 2];
  }

  #answer(op: Operation, inode: number, cookie: number, dpp: number): Errno {
    writeU64(op.u32, op.base + dpp, this.memory.inodeOffset(inode));
    op.u32[(op.base + cookie) >> 2] = inode;
    op.u32[(op.base + cookie + 4) >> 2] = this.#slot << 8;
    return 0;
  }

  /** Index of the inode that `newInode` has just made. */
  protected newest(op: Operation): number {
    return this.index(op, zufs_ioc_new_inode.zus_ii);
  }

  statfs(op: Operation): Errno {
    const memory = this.memory;
    const out = op.base + abi.zufs_ioc_statfs.statfs_out;
    writeU64(op.u32, out + abi.statfs64.f_type, this.#magic);
    writeU64(op.u32, out + abi.statfs64.f_bsize, 4096);
    writeU64(op.u32, out + abi.statfs64.f_frsize, 4096);
    writeU64(op.u32, out + abi.statfs64.f_blocks, memory.length / 4096);
    writeU64(op.u32, out + abi.statfs64.f_bfree, memory.length / 4096);
    writeU64(op.u32, out + abi.statfs64.f_bavail, memory.length / 4096);
    writeU64(op.u32, out + abi.statfs64.f_files, memory.inodes.capacity);
    writeU64(op.u32, out + abi.statfs64.f_ffree, memory.inodes.free());
    writeU64(op.u32, out + abi.statfs64.f_namelen, 255);
    return 0;
  }

  newInode(op: Operation): Errno {
    const memory = this.memory;
    const n = zufs_ioc_new_inode;
    const parent = this.index(op, n.dir_ii);
    const named = wantsName(op, n.flags);
    memory.lock();
    // open(2) makes a name without having looked whether it is there.
    if (named && memory.lookup(parent, op.u8, op.base + n.str) >= 0) {
      memory.unlock();
      return -errno.EEXIST;
    }
    const inode = memory.createInode(op, op.base + n.zi);
    const linked = inode === 0 || !named || memory.addName(parent, op.u8, op.base + n.str, inode);
    if (inode !== 0 && !linked) memory.freeInode(inode);
    memory.unlock();
    return inode === 0 || !linked ? -errno.ENOSPC : this.#answer(op, inode, n.zus_ii, n._zi);
  }

  freeInode(op: Operation): Errno {
    this.memory.lock();
    this.memory.freeInode(this.index(op, abi.zufs_ioc_evict_inode.zus_ii));
    this.memory.unlock();
    return 0;
  }

  lookup(op: Operation): Errno {
    const directory = this.index(op, zufs_ioc_lookup.dir_ii);
    this.memory.lock();
    const found = this.memory.lookup(directory, op.u8, op.base + zufs_ioc_lookup.str);
    this.memory.unlock();
    return found < 0 ? found : this.#answer(op, found, zufs_ioc_lookup.zus_ii, zufs_ioc_lookup._zi);
  }

  addDentry(op: Operation): Errno {
    const { zus_ii, zus_dir_ii, str } = zufs_ioc_dentry;
    this.memory.lock();
    const added = this.memory.addName(
      this.index(op, zus_dir_ii),
      op.u8,
      op.base + str,
      this.index(op, zus_ii),
    );
    this.memory.unlock();
    return added ? 0 : -errno.ENOSPC;
  }

  removeDentry(op: Operation): Errno {
    const { zus_ii, zus_dir_ii, str } = zufs_ioc_dentry;
    if (this.memory.entries(this.index(op, zus_ii)) > 0) return -errno.ENOTEMPTY;
    this.memory.lock();
    const result = this.memory.removeName(this.index(op, zus_dir_ii), op.u8, op.base + str);
    this.memory.unlock();
    return result;
  }

  rename(op: Operation): Errno {
    const r = zufs_ioc_rename;
    const flags = op.u32[(op.base + r.flags) >> 2];
    if ((flags & RENAME_WHITEOUT) !== 0) return -errno.EINVAL;
    const target = this.index(op, r.new_zus_ii);
    const exchange = (flags & RENAME_EXCHANGE) !== 0;
    if (!exchange && target !== 0 && this.memory.entries(target) > 0) return -errno.ENOTEMPTY;
    const oldAt = op.base + r.old_d_str;
    const newAt = op.base + r.new_d_str;
    const from = this.index(op, r.old_dir_ii);
    const to = this.index(op, r.new_dir_ii);
    const memory = this.memory;
    memory.lock();
    // Removing first leaves room for what is added: a rename cannot run out of memory.
    let result = target === 0 ? 0 : memory.removeName(to, op.u8, newAt);
    if (result === 0) result = memory.removeName(from, op.u8, oldAt);
    if (result === 0) memory.addName(to, op.u8, newAt, this.index(op, r.old_zus_ii));
    if (result === 0 && exchange) memory.addName(from, op.u8, oldAt, target);
    memory.unlock();
    return result;
  }

  readdir(op: Operation): Errno {
    this.memory.lock();
    const result = this.memory.list(this.index(op, abi.zufs_ioc_readdir.dir_ii), op);
    this.memory.unlock();
    return result;
  }

  abstract read(op: Operation): Errno;
  abstract write(op: Operation): Errno;

  /** Truncate; nothing else by default. */
  fallocate(op: Operation): Errno {
    if (op.u32[(op.base + zufs_ioc_IO.rw) >> 2] !== FLAG.ZUFS_FL_TRUNCATE) return -errno.EOPNOTSUPP;
    this.memory.setSize(this.index(op, zufs_ioc_IO.zus_ii), readU64(op.u32, op.base + zufs_ioc_IO.filepos));
    return 0;
  }

  xattrList(op: Operation): Errno {
    op.u32[(op.base + abi.zufs_ioc_xattr.user_buf_size) >> 2] = 0;
    return 0;
  }

  fiemap(op: Operation): Errno {
    op.u32[(op.base + abi.zufs_ioc_fiemap.extents_mapped) >> 2] = 0;
    return 0;
  }

  // What needs no answer, and what has none.
  showOptions = (): Errno => 0;
  evictInode = (): Errno => 0;
  preRead = (): Errno => 0;
  mmapClose = (): Errno => 0;
  setattr = (): Errno => 0;
  sync = (): Errno => 0;
  putMulty = (): Errno => 0;
  xattrSet = (): Errno => -errno.EOPNOTSUPP;
  xattrGet = (): Errno => -errno.ENODATA;
  ioctl = (): Errno => -errno.ENOTTY;
  quota = (): Errno => -errno.EOPNOTSUPP;

  getMulty(_op: Operation): Errno {
    return -errno.ENODEV;
  }

  clone(_op: Operation): Errno {
    return -errno.EOPNOTSUPP;
  }

  copy(_op: Operation): Errno {
    return -errno.EOPNOTSUPP;
  }

  llseek(_op: Operation): Errno {
    return -errno.EOPNOTSUPP;
  }
}

/** A type that `mount -t NAME -o size=64M NAME /mnt` mounts: `attach` makes what serves a mount in one ZT. */
export function memoryFileSystem(
  name: string,
  magic: number,
  attach: (request: AttachRequest, info: FsInfo) => MountedFileSystem,
): FileSystem {
  const info: FsInfo = {
    name,
    magic,
    versionMajor: 1,
    versionMinor: 0,
    deviceTableOffset: null,
    maxFileSize: 2 ** 52,
    timeGranularity: 1,
    features: FLAG.ZUFS_FEATURE_MEMORY_MOUNT,
  };
  return {
    info,
    mount(request: MountRequest): MountResult {
      const memory = new MemoryTree(request.addon, request.memory);
      const root = memory.format();
      return {
        rootCookie: request.slot * 2 ** 40 + root,
        rootInode: memory.inodeOffset(root),
        capabilities: 0,
        shared: new SharedArrayBuffer(64),
      };
    },
    unmount: () => {},
    remount: () => {},
    attach: (request) => attach(request, info),
    /** Zeroed memory is all that `mount` wants. */
    formatScratch: () => {},
  };
}
