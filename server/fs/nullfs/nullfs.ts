// SPDX-License-Identifier: BSD-3-Clause

/**
 * nullfs: names and attributes in memory, data dropped. What it costs is what the transport costs, and it is the
 * smallest complete file system here, so read it first. `memory.ts` is its memory, this file its operations.
 */

import * as abi from '../../abi/layout.ts';
import type {
  AttachRequest,
  Errno,
  FileSystem,
  MountedFileSystem,
  MountRequest,
  MountResult,
  Operation,
} from '../filesystem.ts';
import { readU64, writeU64 } from '../words.ts';
import { NullMemory, wantsName } from './memory.ts';

const { zufs_ioc_IO, zufs_ioc_new_inode, zufs_ioc_rename, zufs_ioc_dentry, zufs_ioc_lookup, FLAG } = abi;
const errno = {
  ENXIO: 6,
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
const FALLOC_KEEP_SIZE = 1;
/** FALLOC_FL_COLLAPSE_RANGE and FALLOC_FL_INSERT_RANGE. */
const FALLOC_MOVES = 8 | 32;
const SEEK_DATA = 3;
const MAGIC = 0x5a4e554c;

class NullMount implements MountedFileSystem {
  readonly #memory: NullMemory;
  readonly #slot: number;

  constructor(request: AttachRequest) {
    this.#memory = new NullMemory(request.addon, request.memory);
    this.#slot = request.slot;
  }

  /** Index of the inode that the cookie at `offset` of the command names. */
  #index(op: Operation, offset: number): number {
    return op.u32[(op.base + offset) >> 2];
  }

  #answer(op: Operation, inode: number, cookie: number, dpp: number): Errno {
    writeU64(op.u32, op.base + dpp, this.#memory.inodeOffset(inode));
    op.u32[(op.base + cookie) >> 2] = inode;
    op.u32[(op.base + cookie + 4) >> 2] = this.#slot << 8;
    return 0;
  }

  statfs(op: Operation): Errno {
    const memory = this.#memory;
    const out = op.base + abi.zufs_ioc_statfs.statfs_out;
    writeU64(op.u32, out + abi.statfs64.f_type, MAGIC);
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
    const memory = this.#memory;
    const n = zufs_ioc_new_inode;
    const parent = this.#index(op, n.dir_ii);
    memory.lock();
    const inode = memory.createInode(op, op.base + n.zi);
    const linked =
      inode === 0 || !wantsName(op, n.flags) || memory.addName(parent, op.u8, op.base + n.str, inode);
    if (inode !== 0 && !linked) memory.freeInode(inode);
    memory.unlock();
    return inode === 0 || !linked ? -errno.ENOSPC : this.#answer(op, inode, n.zus_ii, n._zi);
  }

  freeInode(op: Operation): Errno {
    this.#memory.lock();
    this.#memory.freeInode(this.#index(op, abi.zufs_ioc_evict_inode.zus_ii));
    this.#memory.unlock();
    return 0;
  }

  lookup(op: Operation): Errno {
    const directory = this.#index(op, zufs_ioc_lookup.dir_ii);
    this.#memory.lock();
    const found = this.#memory.lookup(directory, op.u8, op.base + zufs_ioc_lookup.str);
    this.#memory.unlock();
    return found < 0 ? found : this.#answer(op, found, zufs_ioc_lookup.zus_ii, zufs_ioc_lookup._zi);
  }

  addDentry(op: Operation): Errno {
    const { zus_ii, zus_dir_ii, str } = zufs_ioc_dentry;
    this.#memory.lock();
    const added = this.#memory.addName(
      this.#index(op, zus_dir_ii),
      op.u8,
      op.base + str,
      this.#index(op, zus_ii),
    );
    this.#memory.unlock();
    return added ? 0 : -errno.ENOSPC;
  }

  removeDentry(op: Operation): Errno {
    const { zus_ii, zus_dir_ii, str } = zufs_ioc_dentry;
    if (this.#memory.entries(this.#index(op, zus_ii)) > 0) return -errno.ENOTEMPTY;
    this.#memory.lock();
    const result = this.#memory.removeName(this.#index(op, zus_dir_ii), op.u8, op.base + str);
    this.#memory.unlock();
    return result;
  }

  rename(op: Operation): Errno {
    const r = zufs_ioc_rename;
    const flags = op.u32[(op.base + r.flags) >> 2];
    if ((flags & RENAME_WHITEOUT) !== 0) return -errno.EINVAL;
    const target = this.#index(op, r.new_zus_ii);
    const exchange = (flags & RENAME_EXCHANGE) !== 0;
    if (!exchange && target !== 0 && this.#memory.entries(target) > 0) return -errno.ENOTEMPTY;
    const oldAt = op.base + r.old_d_str;
    const newAt = op.base + r.new_d_str;
    const from = this.#index(op, r.old_dir_ii);
    const to = this.#index(op, r.new_dir_ii);
    const memory = this.#memory;
    memory.lock();
    // Removing first leaves room for what is added: a rename cannot run out of memory.
    let result = target === 0 ? 0 : memory.removeName(to, op.u8, newAt);
    if (result === 0) result = memory.removeName(from, op.u8, oldAt);
    if (result === 0) memory.addName(to, op.u8, newAt, this.#index(op, r.old_zus_ii));
    if (result === 0 && exchange) memory.addName(from, op.u8, oldAt, target);
    memory.unlock();
    return result;
  }

  readdir(op: Operation): Errno {
    this.#memory.lock();
    const result = this.#memory.list(this.#index(op, abi.zufs_ioc_readdir.dir_ii), op);
    this.#memory.unlock();
    return result;
  }

  read(op: Operation): Errno {
    const length = op.u32[(op.base + abi.zufs_ioc_hdr.len) >> 2];
    const offset = op.u32[(op.base + abi.zufs_ioc_hdr.offset) >> 2];
    this.#memory.addon.zero(op.windowAddress + offset, length);
    writeU64(op.u32, op.base + zufs_ioc_IO.last_pos, readU64(op.u32, op.base + zufs_ioc_IO.filepos) + length);
    return 0;
  }

  write(op: Operation): Errno {
    const end =
      readU64(op.u32, op.base + zufs_ioc_IO.filepos) + op.u32[(op.base + abi.zufs_ioc_hdr.len) >> 2];
    this.#memory.growTo(this.#index(op, zufs_ioc_IO.zus_ii), end);
    writeU64(op.u32, op.base + zufs_ioc_IO.last_pos, end);
    return 0;
  }

  fallocate(op: Operation): Errno {
    const inode = this.#index(op, zufs_ioc_IO.zus_ii);
    const mode = op.u32[(op.base + zufs_ioc_IO.rw) >> 2];
    if (mode === FLAG.ZUFS_FL_TRUNCATE) {
      this.#memory.setSize(inode, readU64(op.u32, op.base + zufs_ioc_IO.filepos));
      return 0;
    }
    if ((mode & FALLOC_MOVES) !== 0) return -errno.EOPNOTSUPP;
    if ((mode & FALLOC_KEEP_SIZE) === 0)
      this.#memory.growTo(inode, readU64(op.u32, op.base + zufs_ioc_IO.last_pos));
    return 0;
  }

  /** Everything is a hole. */
  llseek(op: Operation): Errno {
    const { zus_ii, offset_in, whence, offset_out } = abi.zufs_ioc_seek;
    const from = readU64(op.u32, op.base + offset_in);
    if (op.u32[(op.base + whence) >> 2] === SEEK_DATA) return -errno.ENXIO;
    if (from >= this.#memory.size(this.#index(op, zus_ii))) return -errno.ENXIO;
    writeU64(op.u32, op.base + offset_out, from);
    return 0;
  }

  clone(op: Operation): Errno {
    const { dst_zus_ii, pos_out, len } = abi.zufs_ioc_clone;
    const end = readU64(op.u32, op.base + pos_out) + readU64(op.u32, op.base + len);
    this.#memory.growTo(this.#index(op, dst_zus_ii), end);
    return 0;
  }

  copy(op: Operation): Errno {
    return this.clone(op);
  }

  /** Holes can be mapped for reading. A page that somebody stores to would have to keep what is stored. */
  getMulty(op: Operation): Errno {
    if ((op.u32[(op.base + zufs_ioc_IO.rw) >> 2] & FLAG.ZUFS_RW_WRITE) !== 0) return -errno.ENODEV;
    writeU64(op.u32, op.base + zufs_ioc_IO.iom_e, 0);
    op.u32[(op.base + zufs_ioc_IO.ziom_iom_n) >> 2] = 1;
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
  xattrSet = (): Errno => 0;
  xattrGet = (): Errno => -errno.ENODATA;
  ioctl = (): Errno => -errno.ENOTTY;
}

export const nullfs: FileSystem = {
  info: {
    name: 'nullfs',
    magic: MAGIC,
    versionMajor: 1,
    versionMinor: 0,
    deviceTableOffset: null,
    maxFileSize: 2 ** 52,
    timeGranularity: 1,
    features: FLAG.ZUFS_FEATURE_MEMORY_MOUNT,
  },
  mount(request: MountRequest): MountResult {
    const memory = new NullMemory(request.addon, request.memory);
    const root = memory.format();
    return {
      rootCookie: request.slot * 2 ** 40 + root,
      rootInode: memory.inodeOffset(root),
      capabilities: 0,
      shared: new SharedArrayBuffer(8),
    };
  },
  unmount: () => {},
  remount: () => {},
  attach: (request) => new NullMount(request),
  /** Zeroed memory is all that `mount` wants. */
  formatScratch: () => {},
};
