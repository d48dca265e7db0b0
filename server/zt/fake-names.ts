// SPDX-License-Identifier: BSD-3-Clause

/** Names on a mount of the fake kernel: what resolves, makes, removes and lists them. */

import { constants } from 'node:fs';
import {
  FLAG,
  OP,
  zufs_dir_entry,
  zufs_ioc_dentry,
  zufs_ioc_lookup,
  zufs_ioc_new_inode,
  zufs_ioc_readdir,
  zufs_ioc_rename,
  zus_inode,
} from '../abi/layout.ts';
import { type Command, KernelError, type Name, nameBytes } from './fake-command.ts';
import { FakeInode } from './fake-inode.ts';
import { errno, key, MountSession, type Target, text } from './fake-session.ts';

const { S_IFMT, S_IFDIR, S_IFLNK, S_IFREG } = constants;

export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 };

export interface DirectoryEntry {
  readonly name: string;
  readonly nameBytes: Uint8Array;
  readonly ino: number;
  readonly type: number;
  /** Where to continue behind it. */
  readonly pos: bigint;
}

export interface NewInodeOptions {
  /** Permission bits. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

export class MountNames extends MountSession {
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
    const known = this.dentryCache.get(directory.cookie)?.get(key(name));
    if (known !== undefined) return known;
    const { _zi, zus_ii, dir_ii, str, SIZE } = zufs_ioc_lookup;
    const command = this.newCommand(OP.ZUFS_OP_LOOKUP, SIZE, [_zi, 16])
      .u64(dir_ii, directory.cookie)
      .name(str, name);
    this.looking(directory, () => this.call(command, `lookup ${text(nameBytes(name))}`));
    const [cookie, dpp] = [command.getU64(zus_ii), command.getU64(_zi)];
    const cached = this.inodeCache.get(cookie);
    const inode = this.remember(cookie, dpp, command);
    // A second lookup of the same inode, as of another hard link, is a duplicate that the kernel drops again.
    if (cached !== undefined) this.evict(cached, FLAG.ZI_LOOKUP_RACE);
    this.enterDentry(directory, name, inode);
    return inode;
  }

  /** What open_by_handle_at(2) does with an inode that is not in memory: `.` of the cookie in the handle. */
  lookupHandle(cookie: number): FakeInode {
    const { _zi, zus_ii, dir_ii, str, SIZE } = zufs_ioc_lookup;
    const command = this.newCommand(OP.ZUFS_OP_LOOKUP, SIZE, [_zi, 16]).u64(dir_ii, cookie).name(str, '.');
    this.call(command, 'open by handle');
    return this.remember(command.getU64(zus_ii), command.getU64(_zi), command);
  }

  create(path: string, options: NewInodeOptions = {}): FakeInode {
    return this.makeInode(path, S_IFREG | (options.mode ?? 0o644), options);
  }

  mkdir(path: string, options: NewInodeOptions = {}): FakeInode {
    return this.makeInode(path, S_IFDIR | (options.mode ?? 0o755), options);
  }

  /** `mode` with the type; `rdev` as the kernel's new_encode_dev() has it. */
  mknod(path: string, mode: number, rdev = 0): FakeInode {
    return this.makeInode(path, mode, {}, (command) => command.u32(zufs_ioc_new_inode.zi_i_rdev, rdev));
  }

  symlink(target: Name, path: string): FakeInode {
    const bytes = nameBytes(target);
    if (bytes.length === 0) throw new KernelError(errno.ENOENT, 'symlink');
    if (bytes.length > 4095) throw new KernelError(36, 'symlink');
    return this.makeInode(
      path,
      S_IFLNK | 0o777,
      {},
      (command) => {
        command.u64(zufs_ioc_new_inode.zi_i_size, bytes.length);
        if (bytes.length <= 32) command.bytes.set(bytes, zufs_ioc_new_inode.zi_i_symlink);
        else this.kernel.window.set(bytes, 0);
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
    return text(this.kernel.memory.slice(at, at + inode.size));
  }

  /** O_TMPFILE. The inode is open: `close` it. */
  tmpfile(directory: Target = this.root, options: NewInodeOptions = {}): FakeInode {
    this.writable();
    const parent = this.inode(directory);
    const inode = this.sendNewInode(
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
    this.writable();
    const inode = this.inode(existing);
    const [parent, name] = this.parentOf(path);
    this.mustNotExist(parent, name);
    this.sendDentry(OP.ZUFS_OP_ADD_DENTRY, parent, name, inode);
    this.enterDentry(parent, name, inode);
  }

  unlink(path: string): void {
    this.writable();
    const [parent, name] = this.parentOf(path);
    const inode = this.lookup(parent, name);
    if (inode.isDirectory) throw new KernelError(errno.EISDIR, `unlink ${path}`);
    this.removeName(parent, name, inode);
  }

  rmdir(path: string): void {
    this.writable();
    const [parent, name] = this.parentOf(path);
    const inode = this.lookup(parent, name);
    if (!inode.isDirectory) throw new KernelError(errno.ENOTDIR, `rmdir ${path}`);
    this.removeName(parent, name, inode);
  }

  /** `flags` are renameat2's (RENAME). */
  rename(from: string, to: string, flags = 0): void {
    this.writable();
    const [oldParent, oldName] = this.parentOf(from);
    const [newParent, newName] = this.parentOf(to);
    const inode = this.lookup(oldParent, oldName);
    const target = this.lookupOrNull(newParent, newName);
    if (target === inode) return;
    if (target !== null && (flags & RENAME.NOREPLACE) !== 0)
      throw new KernelError(errno.EEXIST, `rename to ${to}`);
    if (target === null && (flags & RENAME.EXCHANGE) !== 0)
      throw new KernelError(errno.ENOENT, `rename to ${to}`);
    if (target !== null && (flags & RENAME.EXCHANGE) === 0 && target.isDirectory !== inode.isDirectory) {
      throw new KernelError(target.isDirectory ? errno.EISDIR : errno.ENOTDIR, `rename to ${to}`);
    }
    const r = zufs_ioc_rename;
    const command = this.newCommand(OP.ZUFS_OP_RENAME, r.SIZE, [0, 0])
      .u64(r.old_dir_ii, oldParent.cookie)
      .u64(r.new_dir_ii, newParent.cookie)
      .u64(r.old_zus_ii, inode.cookie)
      .u64(r.new_zus_ii, target?.cookie ?? 0)
      .name(r.old_d_str, oldName)
      .name(r.new_d_str, newName)
      .big(r.time, this.now())
      .u64(r.flags, flags);
    this.changing([oldParent, newParent], () => this.call(command, `rename ${from} ${to}`));
    this.forgetDentry(oldParent, oldName);
    this.forgetDentry(newParent, newName);
    this.enterDentry(newParent, newName, inode);
    if (target === null) return;
    if ((flags & RENAME.EXCHANGE) !== 0) this.enterDentry(oldParent, oldName, target);
    else this.freeIfUnused(target);
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
    this.kernel.window.fill(0, 0, room);
    const command = this.newCommand(OP.ZUFS_OP_READDIR, SIZE, [pos, 16], { offset: 0, length: room });
    command.u64(dir_ii, directory.cookie).big(pos, position);
    this.looking(directory, () => this.call(command, 'readdir'));
    if (command.dataLength > room) command.bad(`used ${command.dataLength} of ${room} bytes`);
    const entries = parseEntries(command, this.kernel.window.slice(0, command.dataLength));
    return { entries, more: command.bytes[more] !== 0 };
  }

  protected makeInode(
    path: string,
    mode: number,
    options: NewInodeOptions,
    fill: ((command: Command) => void) | null = null,
    dataLength = 0,
  ): FakeInode {
    this.writable();
    const [parent, name] = this.parentOf(path);
    // open(2) makes a file without looking whether the name is there: the server tells.
    if ((mode & S_IFMT) !== S_IFREG) this.mustNotExist(parent, name);
    const inode = this.sendNewInode(parent, name, mode, options, fill, dataLength, 0);
    this.enterDentry(parent, name, inode);
    return inode;
  }

  protected sendNewInode(
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
    const command = this.newCommand(OP.ZUFS_OP_NEW_INODE, n.SIZE, [n._zi, 16], data);
    const time = this.now();
    command.view.setUint16(n.zi_i_mode, mode, true);
    command.u32(n.zi_i_uid, options.uid ?? 0).u32(n.zi_i_gid, options.gid ?? 0);
    command.big(n.zi_i_mtime, time).big(n.zi_i_ctime, time).big(n.zi_i_atime, time);
    command.u64(n.dir_ii, parent.cookie).name(n.str, name).u64(n.flags, flags);
    fill?.(command);
    this.changing([parent], () => this.call(command, `create ${name}`));
    const inode = this.remember(command.getU64(n.zus_ii), command.getU64(n._zi), command);
    if (inode.mode !== mode) command.bad(`mode ${inode.mode.toString(8)}, asked for ${mode.toString(8)}`);
    return inode;
  }

  protected sendDentry(operation: number, parent: FakeInode, name: Name, inode: FakeInode): void {
    const { zus_ii, zus_dir_ii, str, ino, SIZE } = zufs_ioc_dentry;
    const command = this.newCommand(operation, SIZE, [ino, 8]);
    command.u64(zus_ii, inode.cookie).u64(zus_dir_ii, parent.cookie).name(str, name);
    this.changing([parent], () =>
      this.call(command, operation === OP.ZUFS_OP_ADD_DENTRY ? 'link' : 'unlink'),
    );
  }

  protected removeName(parent: FakeInode, name: string, inode: FakeInode): void {
    this.sendDentry(OP.ZUFS_OP_REMOVE_DENTRY, parent, name, inode);
    this.forgetDentry(parent, name);
    this.freeIfUnused(inode);
  }

  protected parentOf(path: string): [FakeInode, string] {
    const names = split(path);
    const name = names.pop();
    if (name === undefined) throw new KernelError(errno.EEXIST, path);
    let parent = this.root;
    for (const part of names) parent = this.lookup(parent, part);
    if (!parent.isDirectory) throw new KernelError(errno.ENOTDIR, path);
    return [parent, name];
  }

  protected lookupOrNull(parent: FakeInode, name: string): FakeInode | null {
    try {
      return this.lookup(parent, name);
    } catch (error) {
      if (error instanceof KernelError && error.errno === errno.ENOENT) return null;
      throw error;
    }
  }

  protected mustNotExist(parent: FakeInode, name: string): void {
    if (this.lookupOrNull(parent, name) !== null) throw new KernelError(errno.EEXIST, name);
  }
}

function split(path: string): string[] {
  return path.split('/').filter((part) => part !== '');
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
