// SPDX-License-Identifier: BSD-3-Clause

/**
 * A mounted file system as an application of the fake kernel sees it: calls by path, an inode cache and a dentry cache
 * behind them. Everything is synchronous and throws `KernelError` with the errno that the system call would have.
 */

import { constants } from 'node:fs';
import {
  FLAG,
  IOM,
  OP,
  statfs64,
  zufs_dir_entry,
  zufs_ioc_attr,
  zufs_ioc_clone,
  zufs_ioc_dentry,
  zufs_ioc_evict_inode,
  zufs_ioc_fiemap,
  zufs_ioc_hdr,
  zufs_ioc_IO,
  zufs_ioc_ioctl,
  zufs_ioc_lookup,
  zufs_ioc_mmap_close,
  zufs_ioc_mount_options,
  zufs_ioc_new_inode,
  zufs_ioc_readdir,
  zufs_ioc_rename,
  zufs_ioc_seek,
  zufs_ioc_statfs,
  zufs_ioc_sync,
  zufs_ioc_xattr,
  zus_inode,
} from '../abi/layout.ts';
import { EOPNOTSUPP, WINDOW_SIZE } from './dispatch.ts';
import { type Command, KernelError, type Name, nameBytes } from './fake-command.ts';
import type { FakeKernel, FakeMountOptions } from './fake-kernel.ts';

const { S_IFMT, S_IFDIR, S_IFLNK, S_IFREG } = constants;
const errno = { ENOENT: 2, EEXIST: 17, ENOTDIR: 20, EISDIR: 21, EINVAL: 22, ENOSPC: 28, EROFS: 30 };

/** Bits of `zuf_attr`, as statx(2) has them. */
export const STATX = { MODE: 0x2, UID: 0x8, GID: 0x10, ATIME: 0x20, MTIME: 0x40, CTIME: 0x80 };

export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 };
export const FALLOC = {
  KEEP_SIZE: 1,
  PUNCH_HOLE: 2,
  COLLAPSE_RANGE: 8,
  ZERO_RANGE: 16,
  INSERT_RANGE: 32,
  UNSHARE_RANGE: 64,
};

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

export interface NewInodeOptions {
  /** Permission bits. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

export interface MountState {
  readonly superBlock: number;
  readonly root: { readonly cookie: number; readonly dpp: number };
  readonly capabilities: number;
  readonly readOnly: boolean;
}

/** What a path or an inode in hand may stand for. */
export type Target = string | FakeInode;

export class FakeMount {
  readonly root: FakeInode;
  readonly superBlock: number;
  /** ZUFS_FSC_* that the mount answered. */
  readonly capabilities: number;
  /** Time of what the kernel stamps; CLOCK_REALTIME unless a test sets it. */
  now: () => bigint = () => BigInt(Date.now()) * 1_000_000n;
  readonly #kernel: FakeKernel;
  readonly #inodes = new Map<number, FakeInode>();
  readonly #dentries = new Map<number, Map<string, FakeInode>>();
  #readOnly: boolean;

  /** What the mount answered. */
  readonly state: MountState;

  constructor(kernel: FakeKernel, state: MountState) {
    this.#kernel = kernel;
    this.state = state;
    this.superBlock = state.superBlock;
    this.capabilities = state.capabilities;
    this.#readOnly = state.readOnly;
    this.root = this.#remember(state.root.cookie, state.root.dpp);
    if (!this.root.isDirectory) throw new KernelError(errno.ENOTDIR, 'the root is no directory');
  }

  // --- Super block ---

  statfs(): Record<
    'type' | 'bsize' | 'blocks' | 'bfree' | 'bavail' | 'files' | 'ffree' | 'namelen' | 'frsize',
    number
  > {
    const out = zufs_ioc_statfs.statfs_out;
    const command = this.#command(OP.ZUFS_OP_STATFS, zufs_ioc_statfs.SIZE, [out, 120]).u64(
      24,
      this.superBlock,
    );
    this.#call(command, 'statfs');
    const read = (field: number) => command.getU64(out + field);
    return {
      type: read(statfs64.f_type),
      bsize: read(statfs64.f_bsize),
      blocks: read(statfs64.f_blocks),
      bfree: read(statfs64.f_bfree),
      bavail: read(statfs64.f_bavail),
      files: read(statfs64.f_files),
      ffree: read(statfs64.f_ffree),
      namelen: read(statfs64.f_namelen),
      frsize: read(statfs64.f_frsize),
    };
  }

  showOptions(): string {
    const start = zufs_ioc_mount_options.buf;
    const command = this.#kernel.command({
      operation: OP.ZUFS_OP_SHOW_OPTIONS,
      size: start,
      out: [start, 0],
      outMax: 512,
    });
    this.#call(command.u64(24, this.superBlock), 'show_options');
    return text(command.bytes.subarray(command.outStart, command.outStart + command.outLength));
  }

  remount(options: FakeMountOptions): void {
    this.#kernel.remountCall(this.superBlock, this.#readOnly, options);
    this.#readOnly = options.readOnly ?? false;
  }

  /** umount(2): evicts every inode first. Files that are still open make it EBUSY. */
  unmount(): void {
    for (const inode of this.#inodes.values())
      if (inode.opens > 0) throw new KernelError(16, 'umount: open files');
    this.dropCaches();
    this.#evict(this.root, 0);
    this.#inodes.clear();
    this.#kernel.unmountCall(this.superBlock);
  }

  /** Forget all that nobody uses, so that the next call looks it up again. */
  dropCaches(): void {
    this.#dentries.clear();
    for (const inode of this.#inodes.values()) {
      if (inode.opens > 0 || inode === this.root) continue;
      this.#inodes.delete(inode.cookie);
      this.#evict(inode, 0);
    }
  }

  sync(target: Target = this.root, offset = 0, length = 2 ** 52, flags = 0): void {
    const command = this.#command(OP.ZUFS_OP_SYNC, zufs_ioc_sync.SIZE, [zufs_ioc_sync.write_unmapped, 8]);
    command
      .u64(24, this.inode(target).cookie)
      .u64(zufs_ioc_sync.offset, offset)
      .u64(zufs_ioc_sync.length, length);
    this.#call(command.u64(zufs_ioc_sync.flags, flags), 'fsync');
  }

  // --- Names ---

  inode(target: Target): FakeInode {
    if (target instanceof FakeInode) return target;
    let inode = this.root;
    for (const name of split(target)) inode = this.lookup(inode, name);
    return inode;
  }

  exists(path: string): boolean {
    try {
      this.inode(path);
      return true;
    } catch (error) {
      if (error instanceof KernelError && error.errno === errno.ENOENT) return false;
      throw error;
    }
  }

  /** One component, through the dentry cache. Symbolic links are not followed. */
  lookup(directory: FakeInode, name: Name): FakeInode {
    if (!directory.isDirectory) throw new KernelError(errno.ENOTDIR, 'lookup');
    const known = this.#dentries.get(directory.cookie)?.get(key(name));
    if (known !== undefined) return known;
    const { _zi, zus_ii, dir_ii, str, SIZE } = zufs_ioc_lookup;
    const command = this.#command(OP.ZUFS_OP_LOOKUP, SIZE, [_zi, 16])
      .u64(dir_ii, directory.cookie)
      .name(str, name);
    this.#call(command, `lookup ${text(nameBytes(name))}`);
    const [cookie, dpp] = [command.getU64(zus_ii), command.getU64(_zi)];
    const cached = this.#inodes.get(cookie);
    const inode = this.#remember(cookie, dpp, command);
    // A second lookup of the same inode, as of another hard link, is a duplicate that the kernel drops again.
    if (cached !== undefined) this.#evict(cached, FLAG.ZI_LOOKUP_RACE);
    this.#enter(directory, name, inode);
    return inode;
  }

  create(path: string, options: NewInodeOptions = {}): FakeInode {
    return this.#newInode(path, S_IFREG | (options.mode ?? 0o644), options);
  }

  mkdir(path: string, options: NewInodeOptions = {}): FakeInode {
    return this.#newInode(path, S_IFDIR | (options.mode ?? 0o755), options);
  }

  /** `mode` with the type; `rdev` as the kernel's new_encode_dev() has it. */
  mknod(path: string, mode: number, rdev = 0): FakeInode {
    return this.#newInode(path, mode, {}, (command) => command.u32(zufs_ioc_new_inode.zi_i_rdev, rdev));
  }

  symlink(target: Name, path: string): FakeInode {
    const bytes = nameBytes(target);
    if (bytes.length === 0) throw new KernelError(errno.ENOENT, 'symlink');
    if (bytes.length > 4095) throw new KernelError(36, 'symlink');
    return this.#newInode(
      path,
      S_IFLNK | 0o777,
      {},
      (command) => {
        command.u64(zufs_ioc_new_inode.zi_i_size, bytes.length);
        if (bytes.length <= 32) command.bytes.set(bytes, zufs_ioc_new_inode.zi_i_symlink);
        else this.#kernel.window.set(bytes, 0);
      },
      bytes.length > 32 ? bytes.length : 0,
    );
  }

  readlink(target: Target): string {
    const inode = this.inode(target);
    if ((inode.mode & S_IFMT) !== S_IFLNK) throw new KernelError(errno.EINVAL, 'readlink');
    const at =
      inode.size <= 32
        ? inode.dpp + zus_inode.i_symlink
        : Number(inode.raw.getBigUint64(zus_inode.i_sym_dpp, true));
    return text(this.#kernel.memory.slice(at, at + inode.size));
  }

  /** O_TMPFILE. The inode is open: `close` it. */
  tmpfile(directory: Target = this.root, options: NewInodeOptions = {}): FakeInode {
    this.#writable();
    const parent = this.inode(directory);
    const inode = this.#sendNewInode(
      parent,
      '',
      S_IFREG | (options.mode ?? 0o600),
      options,
      null,
      0,
      FLAG.ZI_TMPFILE,
    );
    inode.opens++;
    return inode;
  }

  link(existing: Target, path: string): void {
    this.#writable();
    const inode = this.inode(existing);
    const [parent, name] = this.#parent(path);
    this.#mustNotExist(parent, name);
    this.#dentry(OP.ZUFS_OP_ADD_DENTRY, parent, name, inode);
    this.#enter(parent, name, inode);
  }

  unlink(path: string): void {
    this.#writable();
    const [parent, name] = this.#parent(path);
    const inode = this.lookup(parent, name);
    if (inode.isDirectory) throw new KernelError(errno.EISDIR, `unlink ${path}`);
    this.#remove(parent, name, inode);
  }

  rmdir(path: string): void {
    this.#writable();
    const [parent, name] = this.#parent(path);
    const inode = this.lookup(parent, name);
    if (!inode.isDirectory) throw new KernelError(errno.ENOTDIR, `rmdir ${path}`);
    this.#remove(parent, name, inode);
  }

  /** `flags` are renameat2's (RENAME). */
  rename(from: string, to: string, flags = 0): void {
    this.#writable();
    const [oldParent, oldName] = this.#parent(from);
    const [newParent, newName] = this.#parent(to);
    const inode = this.lookup(oldParent, oldName);
    const target = this.#lookupOrNull(newParent, newName);
    if (target === inode) return;
    if (target !== null && (flags & RENAME.NOREPLACE) !== 0)
      throw new KernelError(errno.EEXIST, `rename to ${to}`);
    if (target === null && (flags & RENAME.EXCHANGE) !== 0)
      throw new KernelError(errno.ENOENT, `rename to ${to}`);
    if (target !== null && (flags & RENAME.EXCHANGE) === 0 && target.isDirectory !== inode.isDirectory) {
      throw new KernelError(target.isDirectory ? errno.EISDIR : errno.ENOTDIR, `rename to ${to}`);
    }
    const r = zufs_ioc_rename;
    const command = this.#command(OP.ZUFS_OP_RENAME, r.SIZE, [0, 0])
      .u64(r.old_dir_ii, oldParent.cookie)
      .u64(r.new_dir_ii, newParent.cookie)
      .u64(r.old_zus_ii, inode.cookie)
      .u64(r.new_zus_ii, target?.cookie ?? 0)
      .name(r.old_d_str, oldName)
      .name(r.new_d_str, newName)
      .big(r.time, this.now())
      .u64(r.flags, flags);
    this.#call(command, `rename ${from} ${to}`);
    this.#forget(oldParent, oldName);
    this.#forget(newParent, newName);
    this.#enter(newParent, newName, inode);
    if (target === null) return;
    if ((flags & RENAME.EXCHANGE) !== 0) this.#enter(oldParent, oldName, target);
    else this.#freeIfUnused(target);
  }

  /** All entries, `.` and `..` among them, asked for in rooms of `room` bytes. */
  readdir(target: Target = this.root, room = 4096): DirectoryEntry[] {
    const entries: DirectoryEntry[] = [];
    let position = 0n;
    for (;;) {
      const part = this.readdirFrom(target, position, room);
      entries.push(...part.entries);
      const last = part.entries.at(-1);
      if (!part.more) return entries;
      if (last === undefined || last.pos === position) throw new KernelError(5, 'readdir makes no progress');
      position = last.pos;
    }
  }

  /** Names but for `.` and `..`, sorted. */
  list(target: Target = this.root): string[] {
    const names = this.readdir(target).map((entry) => entry.name);
    return names.filter((name) => name !== '.' && name !== '..').sort();
  }

  readdirFrom(target: Target, position: bigint, room = 4096): { entries: DirectoryEntry[]; more: boolean } {
    const directory = this.inode(target);
    if (!directory.isDirectory) throw new KernelError(errno.ENOTDIR, 'readdir');
    const { dir_ii, pos, more, SIZE } = zufs_ioc_readdir;
    this.#kernel.window.fill(0, 0, room);
    const command = this.#command(OP.ZUFS_OP_READDIR, SIZE, [pos, 16], { offset: 0, length: room });
    this.#call(command.u64(dir_ii, directory.cookie).big(pos, position), 'readdir');
    if (command.dataLength > room) command.bad(`used ${command.dataLength} of ${room} bytes`);
    const entries = parseEntries(command, this.#kernel.window.slice(0, command.dataLength));
    return { entries, more: command.bytes[more] !== 0 };
  }

  // --- Data ---

  /** Take the inode open, so that it lives on without a name. */
  open(target: Target): FakeInode {
    const inode = this.inode(target);
    inode.opens++;
    return inode;
  }

  close(inode: FakeInode): void {
    inode.opens--;
    this.#freeIfUnused(inode);
  }

  /** pwrite(2). Returns the bytes written; with no room for any it throws ENOSPC. */
  write(target: Target, position: number, data: Uint8Array | string, flags = 0): number {
    this.#writable();
    const inode = this.inode(target);
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
    const room = WINDOW_SIZE - 4096;
    for (let done = 0; done < bytes.length; ) {
      const piece = bytes.subarray(done, done + room);
      const count = this.#writePiece(inode, position + done, piece, flags);
      done += count;
      if (count < piece.length) return done;
    }
    return bytes.length;
  }

  #writePiece(inode: FakeInode, position: number, piece: Uint8Array, flags: number): number {
    const offset = this.#kernel.pageOffset;
    const time = this.now();
    inode.raw.setBigInt64(zus_inode.i_mtime, time, true);
    inode.raw.setBigInt64(zus_inode.i_ctime, time, true);
    const command = this.#io(OP.ZUFS_OP_WRITE, inode, position, FLAG.ZUFS_RW_WRITE | flags, {
      offset,
      length: piece.length,
    });
    this.#kernel.window.set(piece, offset);
    this.#call(command, 'write');
    return this.#progress(command, position, piece.length);
  }

  /** pread(2). */
  read(target: Target, position: number, length: number): Uint8Array {
    const inode = this.inode(target);
    const end = Math.min(position + length, inode.size);
    const result = new Uint8Array(Math.max(0, end - position));
    for (let done = 0; done < result.length; ) {
      const offset = this.#kernel.pageOffset;
      const piece = Math.min(result.length - done, WINDOW_SIZE - 4096);
      this.#kernel.window.fill(0xdb, offset, offset + piece);
      const command = this.#io(OP.ZUFS_OP_READ, inode, position + done, 0, { offset, length: piece });
      this.#call(command, 'read');
      const count = this.#progress(command, position + done, piece);
      result.set(this.#kernel.window.subarray(offset, offset + count), done);
      done += count;
      if (count < piece) return result.subarray(0, done);
    }
    return result;
  }

  #progress(command: Command, position: number, length: number): number {
    const count = command.getU64(zufs_ioc_IO.last_pos) - position;
    if (count < 0 || count > length)
      command.bad(`last_pos ${position + count} for ${length} bytes at ${position}`);
    if (count === 0) throw new KernelError(errno.ENOSPC, 'no byte done');
    return count;
  }

  writeFile(path: string, data: Uint8Array | string): FakeInode {
    const inode = this.exists(path) ? this.inode(path) : this.create(path);
    if (inode.size > 0) this.truncate(inode, 0);
    this.write(inode, 0, data);
    return inode;
  }

  readFile(target: Target): Uint8Array {
    return this.read(target, 0, this.inode(target).size);
  }

  readText(target: Target): string {
    return text(this.readFile(target));
  }

  truncate(target: Target, size: number): void {
    this.#fallocateCall(this.inode(target), FLAG.ZUFS_FL_TRUNCATE, size, size);
  }

  /** fallocate(2); `mode` of FALLOC. */
  fallocate(target: Target, mode: number, offset: number, length: number): void {
    this.#fallocateCall(this.inode(target), mode, offset, offset + length);
  }

  #fallocateCall(inode: FakeInode, mode: number, position: number, end: number): void {
    this.#writable();
    const time = this.now();
    inode.raw.setBigInt64(zus_inode.i_mtime, time, true);
    inode.raw.setBigInt64(zus_inode.i_ctime, time, true);
    const command = this.#io(OP.ZUFS_OP_FALLOCATE, inode, position, mode).u64(zufs_ioc_IO.last_pos, end);
    this.#call(command, 'fallocate');
  }

  /** lseek(2) with SEEK_DATA ('data') or SEEK_HOLE ('hole'). */
  seek(target: Target, offset: number, whence: 'data' | 'hole'): number {
    const { zus_ii, offset_in, whence: at, offset_out, SIZE } = zufs_ioc_seek;
    const command = this.#command(OP.ZUFS_OP_LLSEEK, SIZE, [offset_out, 8]).u64(
      zus_ii,
      this.inode(target).cookie,
    );
    this.#call(command.u64(offset_in, offset).u32(at, whence === 'data' ? 3 : 4), 'lseek');
    return command.getU64(offset_out);
  }

  /**
   * What a page fault or a cached extent asks: blocks of [position, position + length), null for a hole. They stay
   * put until `putBlocks` with what came back.
   */
  getBlocks(
    target: Target,
    position: number,
    length: number,
    flags = 0,
  ): { blocks: (number | null)[]; reply: Uint8Array; isNew: boolean } {
    const inode = this.inode(target);
    const { iom_e, ziom_iom_max, ziom_iom_n, ret_flags } = zufs_ioc_IO;
    const count = length / 4096;
    const size = Math.max(zufs_ioc_IO.SIZE, iom_e + count * 8);
    const command = this.#io(OP.ZUFS_OP_GET_MULTY, inode, position, flags, undefined, size);
    command.u32(ziom_iom_max, Math.max(13, count)).u32(zufs_ioc_hdr.len, length);
    this.#call(command, 'get_multy');
    const got = command.getU32(ziom_iom_n);
    if (got < 1 || got > count) command.bad(`${got} entries for ${count} blocks`);
    const blocks = Array.from({ length: got }, (_, index) => this.#blockOf(command, iom_e + index * 8));
    const isNew = (command.getU32(ret_flags) & FLAG.ZUFS_RET_NEW) !== 0;
    return { blocks, reply: command.bytes.slice(0, size), isNew };
  }

  #blockOf(command: Command, at: number): number | null {
    const [low, high] = [command.getU32(at), command.getU32(at + 4)];
    const block = (low >>> 3) + (high & 0xffffff) * 2 ** 29;
    if (block === 0) return null;
    if (high >>> 24 !== IOM.IOM_T1_READ) command.bad(`entry type ${high >>> 24}`);
    if ((low & 7) !== 0) command.bad(`pool ${low & 7}`);
    if (block >= this.#kernel.memory.length / 4096) command.bad(`block ${block} beyond the devices`);
    return block;
  }

  putBlocks(reply: Uint8Array): void {
    const command = this.#kernel.command({ operation: OP.ZUFS_OP_PUT_MULTY, size: reply.length });
    command.bytes.set(reply.subarray(zufs_ioc_hdr.SIZE), zufs_ioc_hdr.SIZE);
    command.u32(zufs_ioc_hdr.len, new DataView(reply.buffer).getUint32(zufs_ioc_hdr.len, true));
    this.#call(command, 'put_multy');
  }

  /** A store through a shared mapping: one fault a page, then the bytes go straight to memory. */
  mmapWrite(target: Target, position: number, data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      const inPage = (position + done) % 4096;
      const piece = data.subarray(done, done + 4096 - inPage);
      const { blocks, reply } = this.getBlocks(
        target,
        position + done - inPage,
        4096,
        FLAG.ZUFS_RW_WRITE | FLAG.ZUFS_RW_MMAP,
      );
      if (blocks[0] === null) throw new KernelError(5, 'a hole where a block was to be allocated');
      this.#kernel.memory.set(piece, blocks[0] * 4096 + inPage);
      this.putBlocks(reply);
      done += piece.length;
    }
  }

  mmapClose(target: Target): void {
    const { zus_ii, rw, SIZE } = zufs_ioc_mmap_close;
    const command = this.#command(OP.ZUFS_OP_MMAP_CLOSE, SIZE, [0, 0]).u64(zus_ii, this.inode(target).cookie);
    this.#call(command.u64(rw, FLAG.ZUFS_RW_WRITE), 'munmap');
  }

  fiemap(target: Target, start = 0, length = 2 ** 52, max = 64): Extent[] {
    const { zus_ii, start: from, length: bytes, extents_max, extents_mapped, SIZE } = zufs_ioc_fiemap;
    const data = { offset: 0, length: max * 56 };
    const command = this.#command(OP.ZUFS_OP_FIEMAP, SIZE, [extents_mapped, 4], data);
    command.u64(zus_ii, this.inode(target).cookie).u64(from, start).u64(bytes, length).u32(extents_max, max);
    this.#call(command, 'fiemap');
    const count = command.getU32(extents_mapped);
    if (count > max) command.bad(`${count} extents where ${max} fit`);
    const view = new DataView(this.#kernel.window.buffer, this.#kernel.window.byteOffset, data.length);
    return Array.from({ length: count }, (_, index) => ({
      logical: Number(view.getBigUint64(index * 56, true)),
      physical: Number(view.getBigUint64(index * 56 + 8, true)),
      length: Number(view.getBigUint64(index * 56 + 16, true)),
      flags: view.getUint32(index * 56 + 40, true),
    }));
  }

  /** FICLONERANGE. */
  clone(source: Target, from: number, destination: Target, to: number, length: number): void {
    this.#cloneCall(OP.ZUFS_OP_CLONE, source, from, destination, to, length);
  }

  /** copy_file_range(2). */
  copy(source: Target, from: number, destination: Target, to: number, length: number): void {
    this.#cloneCall(OP.ZUFS_OP_COPY, source, from, destination, to, length);
  }

  #cloneCall(
    code: number,
    source: Target,
    from: number,
    destination: Target,
    to: number,
    length: number,
  ): void {
    this.#writable();
    const { src_zus_ii, dst_zus_ii, pos_in, pos_out, len, len_up, SIZE } = zufs_ioc_clone;
    const target = this.inode(destination);
    const time = this.now();
    target.raw.setBigInt64(zus_inode.i_mtime, time, true);
    target.raw.setBigInt64(zus_inode.i_ctime, time, true);
    const command = this.#command(code, SIZE, [0, 0])
      .u64(src_zus_ii, this.inode(source).cookie)
      .u64(dst_zus_ii, target.cookie)
      .u64(pos_in, from)
      .u64(pos_out, to)
      .u64(len, length)
      .u64(len_up, Math.ceil(length / 4096) * 4096);
    this.#call(command, code === OP.ZUFS_OP_CLONE ? 'clone' : 'copy_file_range');
  }

  // --- Attributes ---

  stat(target: Target = this.root): Stat {
    return this.inode(target).stat();
  }

  setattr(
    target: Target,
    change: { mode?: number; uid?: number; gid?: number; atime?: bigint; mtime?: bigint; flags?: number },
  ): void {
    this.#writable();
    const inode = this.inode(target);
    const { raw } = inode;
    let mask = STATX.CTIME;
    if (change.mode !== undefined) {
      raw.setUint16(zus_inode.i_mode, (inode.mode & S_IFMT) | (change.mode & 0o7777), true);
      mask |= STATX.MODE;
    }
    if (change.uid !== undefined) {
      raw.setUint32(zus_inode.i_uid, change.uid, true);
      mask |= STATX.UID;
    }
    if (change.gid !== undefined) {
      raw.setUint32(zus_inode.i_gid, change.gid, true);
      mask |= STATX.GID;
    }
    if (change.atime !== undefined) {
      raw.setBigInt64(zus_inode.i_atime, change.atime, true);
      mask |= STATX.ATIME;
    }
    if (change.mtime !== undefined) {
      raw.setBigInt64(zus_inode.i_mtime, change.mtime, true);
      mask |= STATX.MTIME;
    }
    if (change.flags !== undefined) raw.setUint16(zus_inode.i_flags, change.flags, true);
    raw.setBigInt64(zus_inode.i_ctime, this.now(), true);
    const command = this.#command(OP.ZUFS_OP_SETATTR, zufs_ioc_attr.SIZE, [0, 0]).u64(
      zufs_ioc_attr.zus_ii,
      inode.cookie,
    );
    this.#call(command.u32(zufs_ioc_attr.zuf_attr, mask), 'setattr');
  }

  chmod(target: Target, mode: number): void {
    this.setattr(target, { mode });
  }

  /** Returns what came back in the argument's place. `-EZUFS_RETRY` is thrown as any other error. */
  ioctl(target: Target, cmd: number, argument: Uint8Array = new Uint8Array(8), flags = 0): Uint8Array {
    const { zus_ii, time, cmd: at, kflags, arg } = zufs_ioc_ioctl;
    const size = arg + Math.max(8, argument.length);
    const command = this.#command(OP.ZUFS_OP_IOCTL, size, [arg, argument.length]);
    command.u64(zus_ii, this.inode(target).cookie).big(time, this.now()).u32(at, cmd).u32(kflags, flags);
    command.bytes.set(argument, arg);
    this.#call(command, 'ioctl');
    return command.bytes.slice(arg, arg + argument.length);
  }

  // --- Extended attributes ---

  getxattr(target: Target, name: string): Uint8Array {
    const size = this.#xattrGet(target, name, 0).getU32(zufs_ioc_xattr.user_buf_size);
    const command = this.#xattrGet(target, name, size);
    return this.#xattrValue(command);
  }

  /** getxattr(2) with a buffer of `room` bytes; 0 asks for the size, which is what it returns. */
  getxattrSize(target: Target, name: string, room: number): number {
    return this.#xattrGet(target, name, room).getU32(zufs_ioc_xattr.user_buf_size);
  }

  #xattrGet(target: Target, name: string, room: number): Command {
    const command = this.#xattr(OP.ZUFS_OP_XATTR_GET, target, name, new Uint8Array(0), room);
    this.#call(command.u32(zufs_ioc_xattr.user_buf_size, room), `getxattr ${name}`);
    return command;
  }

  /** null removes the attribute. `flags`: XATTR_CREATE 1, XATTR_REPLACE 2. */
  setxattr(target: Target, name: string, value: Uint8Array | string | null, flags = 0): void {
    this.#writable();
    const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : (value ?? new Uint8Array(0));
    const command = this.#xattr(OP.ZUFS_OP_XATTR_SET, target, name, bytes, 0);
    command.u32(zufs_ioc_xattr.flags, flags).u32(zufs_ioc_xattr.user_buf_size, bytes.length);
    if (value !== null && bytes.length === 0)
      command.view.setUint16(zufs_ioc_xattr.ioc_flags, FLAG.ZUFS_XATTR_SET_EMPTY, true);
    this.#call(command, `setxattr ${name}`);
  }

  removexattr(target: Target, name: string): void {
    this.setxattr(target, name, null);
  }

  listxattr(target: Target): string[] {
    const ask = (room: number) => {
      const { buf, user_buf_size, zus_ii, ioc_flags } = zufs_ioc_xattr;
      const command = this.#kernel.command({
        operation: OP.ZUFS_OP_XATTR_LIST,
        size: buf,
        out: [user_buf_size, 4],
        outMax: 4 + room,
      });
      command.u64(zus_ii, this.inode(target).cookie).u32(user_buf_size, room);
      command.view.setUint16(ioc_flags, FLAG.ZUFS_XATTR_TRUSTED, true);
      this.#call(command, 'listxattr');
      return command;
    };
    const size = ask(0).getU32(zufs_ioc_xattr.user_buf_size);
    if (size === 0) return [];
    const names = text(this.#xattrValue(ask(size)));
    if (!names.endsWith('\0')) throw new KernelError(5, 'listxattr: the last name has no NUL');
    return names.slice(0, -1).split('\0');
  }

  #xattrValue(command: Command): Uint8Array {
    const { user_buf_size, buf } = zufs_ioc_xattr;
    const size = command.getU32(user_buf_size);
    if (command.outStart + command.outLength < buf + size)
      command.bad('the value lies beyond the out region');
    return command.bytes.slice(buf, buf + size);
  }

  #xattr(operation: number, target: Target, name: string, value: Uint8Array, room: number): Command {
    const { type, rest } = splitXattrName(name);
    const bytes = nameBytes(rest);
    const { buf, name_len, user_buf_size } = zufs_ioc_xattr;
    const size = buf + bytes.length + 1 + value.length;
    if (size > 65535 || buf + room > 65535) throw new KernelError(7, 'xattr');
    const outMax = 4 + room;
    const command = this.#kernel.command({ operation, size, out: [user_buf_size, 4], outMax });
    command.u64(24, this.inode(target).cookie).u32(zufs_ioc_xattr.type, type);
    command.view.setUint16(name_len, bytes.length + 1, true);
    command.bytes.set(bytes, buf);
    command.bytes.set(value, buf + bytes.length + 1);
    return command;
  }

  // --- Inside ---

  #writable(): void {
    if (this.#readOnly) throw new KernelError(errno.EROFS, 'mounted read-only');
  }

  #command(
    operation: number,
    size: number,
    out: readonly [number, number],
    data?: { offset: number; length: number },
  ): Command {
    return this.#kernel.command({ operation, size, out, ...(data === undefined ? {} : { data }) });
  }

  #io(
    operation: number,
    inode: FakeInode,
    position: number,
    rw: number,
    data?: { offset: number; length: number },
    size: number = zufs_ioc_IO.SIZE,
  ): Command {
    const { ret_flags, zus_ii, filepos, rw: at, ziom_iom_max } = zufs_ioc_IO;
    const command = this.#command(operation, size, [ret_flags, size - ret_flags], data);
    return command.u64(zus_ii, inode.cookie).u64(filepos, position).u64(at, rw).u32(ziom_iom_max, 13);
  }

  #call(command: Command, what: string): void {
    const error = this.#kernel.send(command);
    if (error < 0) throw new KernelError(-error, what);
  }

  #remember(cookie: number, dpp: number, command?: Command): FakeInode {
    const known = this.#inodes.get(cookie);
    if (known !== undefined && known.dpp === dpp) return known;
    const bad = (what: string) => command?.bad(what) ?? raise(what);
    if (known !== undefined) bad(`cookie ${cookie} has its zus_inode at ${dpp} and at ${known.dpp}`);
    if (dpp % 8 !== 0 || dpp === 0 || dpp + zus_inode.SIZE > this.#kernel.memory.length) bad(`dpp ${dpp}`);
    const inode = new FakeInode(this.#kernel.memory, cookie, dpp);
    this.#inodes.set(cookie, inode);
    return inode;
  }

  #newInode(
    path: string,
    mode: number,
    options: NewInodeOptions,
    fill: ((command: Command) => void) | null = null,
    dataLength = 0,
  ): FakeInode {
    this.#writable();
    const [parent, name] = this.#parent(path);
    this.#mustNotExist(parent, name);
    const inode = this.#sendNewInode(parent, name, mode, options, fill, dataLength, 0);
    this.#enter(parent, name, inode);
    return inode;
  }

  #sendNewInode(
    parent: FakeInode,
    name: string,
    mode: number,
    options: NewInodeOptions,
    fill: ((command: Command) => void) | null,
    dataLength: number,
    flags: number,
  ): FakeInode {
    const n = zufs_ioc_new_inode;
    const data = dataLength > 0 ? { offset: 0, length: dataLength } : undefined;
    const command = this.#command(OP.ZUFS_OP_NEW_INODE, n.SIZE, [n._zi, 16], data);
    const time = this.now();
    command.view.setUint16(n.zi_i_mode, mode, true);
    command.u32(n.zi_i_uid, options.uid ?? 0).u32(n.zi_i_gid, options.gid ?? 0);
    command.big(n.zi_i_mtime, time).big(n.zi_i_ctime, time).big(n.zi_i_atime, time);
    command.u64(n.dir_ii, parent.cookie).name(n.str, name).u64(n.flags, flags);
    fill?.(command);
    this.#call(command, `create ${name}`);
    const inode = this.#remember(command.getU64(n.zus_ii), command.getU64(n._zi), command);
    if (inode.mode !== mode) command.bad(`mode ${inode.mode.toString(8)}, asked for ${mode.toString(8)}`);
    return inode;
  }

  #dentry(operation: number, parent: FakeInode, name: Name, inode: FakeInode): void {
    const { zus_ii, zus_dir_ii, str, ino, SIZE } = zufs_ioc_dentry;
    const command = this.#command(operation, SIZE, [ino, 8]);
    command.u64(zus_ii, inode.cookie).u64(zus_dir_ii, parent.cookie).name(str, name);
    this.#call(command, operation === OP.ZUFS_OP_ADD_DENTRY ? 'link' : 'unlink');
  }

  #remove(parent: FakeInode, name: string, inode: FakeInode): void {
    this.#dentry(OP.ZUFS_OP_REMOVE_DENTRY, parent, name, inode);
    this.#forget(parent, name);
    this.#freeIfUnused(inode);
  }

  #freeIfUnused(inode: FakeInode): void {
    if (inode.nlink > 0 || inode.opens > 0) return;
    this.#inodes.delete(inode.cookie);
    this.#dentries.delete(inode.cookie);
    const command = this.#command(OP.ZUFS_OP_FREE_INODE, zufs_ioc_evict_inode.SIZE, [0, 0]);
    this.#call(command.u64(zufs_ioc_evict_inode.zus_ii, inode.cookie), 'free inode');
  }

  #evict(inode: FakeInode, flags: number): void {
    const { zus_ii, flags: at, SIZE } = zufs_ioc_evict_inode;
    const command = this.#command(OP.ZUFS_OP_EVICT_INODE, SIZE, [0, 0])
      .u64(zus_ii, inode.cookie)
      .u64(at, flags);
    this.#call(command, 'evict inode');
  }

  #parent(path: string): [FakeInode, string] {
    const names = split(path);
    const name = names.pop();
    if (name === undefined) throw new KernelError(errno.EEXIST, path);
    let parent = this.root;
    for (const part of names) parent = this.lookup(parent, part);
    if (!parent.isDirectory) throw new KernelError(errno.ENOTDIR, path);
    return [parent, name];
  }

  #lookupOrNull(parent: FakeInode, name: string): FakeInode | null {
    try {
      return this.lookup(parent, name);
    } catch (error) {
      if (error instanceof KernelError && error.errno === errno.ENOENT) return null;
      throw error;
    }
  }

  #mustNotExist(parent: FakeInode, name: string): void {
    if (this.#lookupOrNull(parent, name) !== null) throw new KernelError(errno.EEXIST, name);
  }

  #enter(directory: FakeInode, name: Name, inode: FakeInode): void {
    if (key(name) === '.' || key(name) === '..') return;
    const entries = this.#dentries.get(directory.cookie) ?? new Map<string, FakeInode>();
    this.#dentries.set(directory.cookie, entries.set(key(name), inode));
  }

  #forget(directory: FakeInode, name: Name): void {
    this.#dentries.get(directory.cookie)?.delete(key(name));
  }
}

function raise(what: string): never {
  throw new KernelError(5, what);
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function key(name: Name): string {
  return typeof name === 'string' ? name : Buffer.from(name).toString('latin1');
}

function split(path: string): string[] {
  return path.split('/').filter((part) => part !== '');
}

const xattrPrefixes: readonly (readonly [string, number])[] = [
  ['security.', FLAG.X_F_SECURITY],
  ['system.', FLAG.X_F_SYSTEM],
  ['trusted.', FLAG.X_F_TRUSTED],
  ['user.', FLAG.X_F_USER],
];

function splitXattrName(name: string): { type: number; rest: string } {
  const found = xattrPrefixes.find(([prefix]) => name.startsWith(prefix));
  if (found === undefined) throw new KernelError(EOPNOTSUPP, `xattr ${name}`);
  return { type: found[1], rest: name.slice(found[0].length) };
}

function parseEntries(command: Command, bytes: Uint8Array): DirectoryEntry[] {
  const view = new DataView(bytes.buffer);
  const entries: DirectoryEntry[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (at + 17 > bytes.length) command.bad('a record is cut short');
    const length = bytes[at + zufs_dir_entry.zstr_len];
    const typeAndPosition = view.getBigUint64(at + zufs_dir_entry.type, true);
    const name = bytes.slice(at + zufs_dir_entry.zstr_name, at + zufs_dir_entry.zstr_name + length);
    if (length === 0 || name.length < length) command.bad('a name is cut short');
    entries.push({
      name: text(name),
      nameBytes: name,
      ino: Number(view.getBigUint64(at, true)),
      type: Number(typeAndPosition & 0xffn),
      pos: typeAndPosition >> 8n,
    });
    at += Math.ceil((17 + length) / 8) * 8;
  }
  return entries;
}
