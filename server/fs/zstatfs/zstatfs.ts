// SPDX-License-Identifier: BSD-3-Clause

/**
 * zstatfs: the server's own metrics as files, read-only and without a device. `tree.ts` says what there is and where,
 * `render.ts` fills it once a second, this file serves it: any server can talk to applications through virtual files
 * and shared pages.
 */

import { constants } from 'node:fs';
import * as abi from '../../abi/layout.ts';
import {
  type AttachRequest,
  type Errno,
  type FileSystem,
  MountError,
  type MountedFileSystem,
  type MountRequest,
  type MountResult,
  type Operation,
} from '../filesystem.ts';
import { readU64, writeU64 } from '../words.ts';
import { render, Shown } from './render.ts';
import { BLOCK, createTree, inodeOffset, ROOT, treeBlocks } from './tree.ts';

const { zufs_dir_entry, zufs_ioc_hdr, zufs_ioc_IO, zufs_ioc_lookup, zufs_ioc_readdir, zus_inode, FLAG } = abi;
const errno = {
  ENOENT: 2,
  ENODEV: 19,
  EINVAL: 22,
  ENOTTY: 25,
  ENOSPC: 28,
  EROFS: 30,
  ENODATA: 61,
  EOPNOTSUPP: 95,
};
const MAGIC = 0x5a535446;
const DIRECTORY = 0;
const RING = 2;
const kinds = { directory: DIRECTORY, text: 1, ring: RING };

class StatMount implements MountedFileSystem {
  readonly #request: AttachRequest;
  readonly #shown: Shown;
  readonly #slot: number;
  readonly #count: number;
  // Of each node, by inode number: arrays of numbers, since objects would have to be looked into on the way.
  readonly #parents: Uint32Array;
  readonly #kinds: Uint8Array;
  readonly #first: Uint32Array;
  readonly #blocks: Uint32Array;
  readonly #names: readonly Uint8Array[];

  constructor(request: AttachRequest) {
    if (request.server === undefined) throw new MountError(errno.EINVAL, 'zstatfs needs to know the server');
    const tree = createTree(request.server);
    this.#request = request;
    this.#shown = new Shown(request.shared);
    this.#slot = request.slot;
    this.#count = tree.length;
    this.#parents = Uint32Array.from([0, ...tree.map((node) => node.parent)]);
    this.#kinds = Uint8Array.from([0, ...tree.map((node) => kinds[node.kind])]);
    this.#first = Uint32Array.from([0, ...tree.map((node) => node.first)]);
    this.#blocks = Uint32Array.from([0, ...tree.map((node) => node.blocks)]);
    this.#names = [new Uint8Array(), ...tree.map((node) => new TextEncoder().encode(node.name))];
  }

  #index(op: Operation, offset: number): number {
    return op.u32[(op.base + offset) >> 2];
  }

  statfs(op: Operation): Errno {
    const out = op.base + abi.zufs_ioc_statfs.statfs_out;
    writeU64(op.u32, out + abi.statfs64.f_type, MAGIC);
    writeU64(op.u32, out + abi.statfs64.f_bsize, BLOCK);
    writeU64(op.u32, out + abi.statfs64.f_frsize, BLOCK);
    writeU64(op.u32, out + abi.statfs64.f_blocks, this.#request.memory.length / BLOCK);
    writeU64(op.u32, out + abi.statfs64.f_files, this.#count);
    writeU64(op.u32, out + abi.statfs64.f_namelen, 255);
    return 0;
  }

  lookup(op: Operation): Errno {
    const directory = this.#index(op, zufs_ioc_lookup.dir_ii);
    const found = this.#find(directory, op.u8, op.base + zufs_ioc_lookup.str);
    if (found === 0) return -errno.ENOENT;
    writeU64(op.u32, op.base + zufs_ioc_lookup._zi, inodeOffset(found));
    op.u32[(op.base + zufs_ioc_lookup.zus_ii) >> 2] = found;
    op.u32[(op.base + zufs_ioc_lookup.zus_ii + 4) >> 2] = this.#slot << 8;
    return 0;
  }

  /** Number of the inode with the name (`struct zufs_str`) at `name`, or 0. There are so few that looking is enough. */
  #find(directory: number, bytes: Uint8Array, name: number): number {
    const length = bytes[name];
    const dots = length <= 2 && bytes[name + 1] === 0x2e && (length === 1 || bytes[name + 2] === 0x2e);
    if (dots) return length === 1 ? directory : this.#parents[directory];
    for (let ino = ROOT + 1; ino <= this.#count; ino++) {
      const candidate = this.#names[ino];
      if (this.#parents[ino] !== directory || candidate.length !== length) continue;
      let i = 0;
      while (i < length && candidate[i] === bytes[name + 1 + i]) i++;
      if (i === length) return ino;
    }
    return 0;
  }

  /** Position 0 is `.`, 1 is `..`, then the number of the inode. */
  readdir(op: Operation): Errno {
    const directory = this.#index(op, zufs_ioc_readdir.dir_ii);
    const room = op.u32[(op.base + zufs_ioc_hdr.len) >> 2];
    let position = readU64(op.u32, op.base + zufs_ioc_readdir.pos);
    let used = 0;
    for (; position <= this.#count; position++) {
      if (position > ROOT && this.#parents[position] !== directory) continue;
      const record = this.#putEntry(op, directory, position, used, room - used);
      if (record === 0) break;
      used += record;
    }
    if (used === 0 && position <= this.#count) return -errno.EINVAL;
    op.u32[(op.base + zufs_ioc_hdr.len) >> 2] = used;
    op.u8[op.base + zufs_ioc_readdir.more] = position <= this.#count ? 1 : 0;
    return 0;
  }

  #putEntry(op: Operation, directory: number, position: number, used: number, room: number): number {
    const dots = position <= ROOT;
    const ino = position === 0 ? directory : position === 1 ? this.#parents[directory] : position;
    const length = dots ? position + 1 : this.#names[ino].length;
    const size = (zufs_dir_entry.zstr_name + length + 7) & ~7;
    if (size > room) return 0;
    const at = op.u32[(op.base + zufs_ioc_hdr.offset) >> 2] + used;
    for (let i = 0; i < zufs_dir_entry.zstr_len; i++) op.window[at + i] = 0;
    op.window[at] = ino;
    op.window[at + 1] = ino >>> 8;
    op.window[at + zufs_dir_entry.type] = this.#kinds[ino] === DIRECTORY ? 4 : 8;
    op.window[at + zufs_dir_entry.pos] = position + 1;
    op.window[at + zufs_dir_entry.pos + 1] = (position + 1) >>> 8;
    op.window[at + zufs_dir_entry.zstr_len] = length;
    const text = at + zufs_dir_entry.zstr_name;
    for (let i = 0; i < length; i++) op.window[text + i] = dots ? 0x2e : this.#names[ino][i];
    return size;
  }

  read(op: Operation): Errno {
    const ino = this.#index(op, zufs_ioc_IO.zus_ii);
    const position = readU64(op.u32, op.base + zufs_ioc_IO.filepos);
    const size = this.#blocks[ino] * BLOCK;
    const asked = op.u32[(op.base + zufs_ioc_hdr.len) >> 2];
    const length = Math.max(0, Math.min(asked, size - position));
    const copy = this.#kinds[ino] === RING ? 0 : this.#shown.get(ino);
    const from =
      this.#request.memory.address + (this.#first[ino] + copy * this.#blocks[ino]) * BLOCK + position;
    const to = op.windowAddress + op.u32[(op.base + zufs_ioc_hdr.offset) >> 2];
    this.#request.addon.copy(to, from, length);
    writeU64(op.u32, op.base + zufs_ioc_IO.last_pos, position + length);
    return 0;
  }

  /** The ring can be mapped for reading. A text moves from copy to copy. */
  getMulty(op: Operation): Errno {
    const ino = this.#index(op, zufs_ioc_IO.zus_ii);
    if (this.#kinds[ino] !== RING) return -errno.ENODEV;
    if ((op.u32[(op.base + zufs_ioc_IO.rw) >> 2] & FLAG.ZUFS_RW_WRITE) !== 0) return -errno.EROFS;
    const first = readU64(op.u32, op.base + zufs_ioc_IO.filepos) / BLOCK;
    const asked = op.u32[(op.base + zufs_ioc_hdr.len) >> 2] / BLOCK;
    const count = Math.min(asked, this.#blocks[ino] - first);
    if (count < 1) return -errno.EINVAL;
    for (let i = 0; i < count; i++) {
      const entry = (op.base + zufs_ioc_IO.iom_e + 8 * i) >> 2;
      op.u32[entry] = (this.#first[ino] + first + i) << 3;
      op.u32[entry + 1] = abi.IOM.IOM_T1_READ << 24;
    }
    op.u32[(op.base + zufs_ioc_IO.ziom_iom_n) >> 2] = count;
    return 0;
  }

  xattrList(op: Operation): Errno {
    op.u32[(op.base + abi.zufs_ioc_xattr.user_buf_size) >> 2] = 0;
    return 0;
  }

  // What needs no answer, and what there is not.
  showOptions = (): Errno => 0;
  evictInode = (): Errno => 0;
  preRead = (): Errno => 0;
  mmapClose = (): Errno => 0;
  sync = (): Errno => 0;
  putMulty = (): Errno => 0;
  /** The access time, which the kernel has written already. */
  setattr = (): Errno => 0;
  xattrGet = (): Errno => -errno.ENODATA;
  ioctl = (): Errno => -errno.ENOTTY;
  quota = (): Errno => -errno.EOPNOTSUPP;
  llseek = (): Errno => -errno.EINVAL;
  fiemap = (): Errno => -errno.EOPNOTSUPP;
  freeInode = (): Errno => -errno.EROFS;
  newInode = (): Errno => -errno.EROFS;
  addDentry = (): Errno => -errno.EROFS;
  removeDentry = (): Errno => -errno.EROFS;
  rename = (): Errno => -errno.EROFS;
  clone = (): Errno => -errno.EROFS;
  copy = (): Errno => -errno.EROFS;
  write = (): Errno => -errno.EROFS;
  fallocate = (): Errno => -errno.EROFS;
  xattrSet = (): Errno => -errno.EROFS;
}

function mount(request: MountRequest): MountResult {
  const { addon, memory, server } = request;
  if (server === undefined) throw new MountError(errno.EINVAL, 'zstatfs needs to know the server');
  const tree = createTree(server);
  const needed = treeBlocks(tree) * BLOCK;
  if (memory.length < needed)
    throw new MountError(errno.ENOSPC, `zstatfs needs ${needed} bytes: mount it with size=${needed}`);
  const buffer = addon.external(memory.address, memory.length);
  const now = BigInt(Date.now()) * 1_000_000n;
  for (const node of tree) {
    const view = new DataView(buffer, inodeOffset(node.ino), zus_inode.SIZE);
    const directory = node.kind === 'directory';
    const children = tree.filter(
      (child) => child.parent === node.ino && child !== node && child.kind === 'directory',
    ).length;
    view.setUint16(zus_inode.i_mode, directory ? constants.S_IFDIR | 0o555 : constants.S_IFREG | 0o444, true);
    view.setUint32(zus_inode.i_nlink, directory ? 2 + children : 1, true);
    view.setUint32(zus_inode.i_size, node.blocks * BLOCK, true);
    view.setUint32(zus_inode.i_blocks, node.blocks, true);
    view.setUint32(zus_inode.i_ino, node.ino, true);
    for (const time of [zus_inode.i_mtime, zus_inode.i_ctime, zus_inode.i_atime])
      view.setBigInt64(time, now, true);
  }
  const shared = new SharedArrayBuffer(Shown.bytes(tree.length));
  render({ addon, memory, shared, server });
  return { rootCookie: request.slot * 2 ** 40 + ROOT, rootInode: inodeOffset(ROOT), capabilities: 0, shared };
}

export const zstatfs: FileSystem = {
  info: {
    name: 'zstatfs',
    magic: MAGIC,
    versionMajor: 1,
    versionMinor: 0,
    deviceTableOffset: null,
    maxFileSize: 2 ** 40,
    timeGranularity: 1,
    features: FLAG.ZUFS_FEATURE_MEMORY_MOUNT,
  },
  mount,
  unmount: () => {},
  remount: () => {},
  attach: (request) => new StatMount(request),
  tick: render,
};
