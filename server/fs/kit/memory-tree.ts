// SPDX-License-Identifier: BSD-3-Clause

/**
 * Names and inodes of a file system that keeps them in memory, for mounts without a device. All ZTs share it, under one
 * lock that the caller takes with `lock`:
 *
 * | where | what |
 * | --- | --- |
 * | 0 | lock, heads of the three free lists |
 * | 4096 | hash buckets: number of the first dentry of each chain |
 * | then | inodes: `struct zus_inode`, 128 bytes; number 0 is never used, 1 is the root |
 * | then | dentries: directory, inode, next in chain, hash, `struct zufs_str` |
 * | then | blocks for symlink targets over 32 bytes |
 */

import { constants } from 'node:fs';
import { FLAG, zufs_dir_entry, zufs_ioc_hdr, zufs_ioc_readdir, zus_inode } from '../../abi/layout.ts';
import type { Addon } from '../../native/addon.ts';
import type { Errno, MountMemory, Operation } from '../filesystem.ts';
import { readU64, writeU64 } from '../words.ts';
import { Pool } from './pool.ts';

const { S_IFMT, S_IFDIR, S_IFLNK } = constants;
const ENOENT = 2;
const EINVAL = 22;
const DENTRY_SIZE = 272;
/** Fields of a dentry, in words. */
const DIRECTORY = 0;
const INODE = 1;
const NEXT = 2;
const HASH = 3;
const NAME_BYTES = 16;

export class MemoryTree {
  readonly addon: Addon;
  readonly length: number;
  readonly inodes: Pool;
  readonly #dentries: Pool;
  readonly #targets: Pool;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #lock: Int32Array;
  readonly #buckets: number;
  readonly #address: number;

  constructor(addon: Addon, memory: MountMemory) {
    this.addon = addon;
    this.length = memory.length;
    this.#address = memory.address;
    const buffer = addon.external(memory.address, memory.length);
    this.#words = new Uint32Array(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#lock = new Int32Array(buffer, 0, 1);
    // A sixteenth goes to symlink targets, the rest to as many inodes as names, a bucket each.
    const files = Math.floor((memory.length * (15 / 16) - 8192) / (zus_inode.SIZE + DENTRY_SIZE + 4));
    this.#buckets = files;
    this.inodes = new Pool(this.#words, 16, 4096 + Math.ceil((files * 4) / 128) * 128, zus_inode.SIZE, files);
    this.#dentries = new Pool(this.#words, 32, this.inodes.end, DENTRY_SIZE, files);
    const targets = Math.ceil(this.#dentries.end / 4096) * 4096;
    this.#targets = new Pool(this.#words, 48, targets, 4096, Math.floor((memory.length - targets) / 4096));
  }

  /** A ZT never sleeps in an operation: it spins, and lets another thread of its own CPU run now and then. */
  lock(): void {
    for (let tries = 1; Atomics.compareExchange(this.#lock, 0, 0, 1) !== 0; tries++) {
      if (tries % 1024 === 0) this.addon.yieldCpu();
    }
  }

  unlock(): void {
    Atomics.store(this.#lock, 0, 0);
  }

  /** An empty tree; returns the number of the root. The memory is zeroed. */
  format(): number {
    const root = this.inodes.take();
    const at = this.inodes.at(root);
    this.#setMode(root, S_IFDIR | 0o755);
    this.#words[(at + zus_inode.i_nlink) >>> 2] = 2;
    this.#words[(at + zus_inode.i_ino) >>> 2] = root;
    this.#words[(at + zus_inode.parent) >>> 2] = root;
    for (const time of [zus_inode.i_mtime, zus_inode.i_ctime, zus_inode.i_atime]) this.#stamp(root, time);
    return root;
  }

  inodeOffset(inode: number): number {
    return this.inodes.at(inode);
  }

  size(inode: number): number {
    return readU64(this.#words, this.inodes.at(inode) + zus_inode.i_size);
  }

  setSize(inode: number, size: number): void {
    writeU64(this.#words, this.inodes.at(inode) + zus_inode.i_size, size);
  }

  growTo(inode: number, size: number): void {
    if (size > this.size(inode)) this.setSize(inode, size);
  }

  /** Names in a directory, 0 for anything else. */
  entries(inode: number): number {
    return this.#words[(this.inodes.at(inode) + zus_inode.a) >>> 2];
  }

  isDirectory(inode: number): boolean {
    return (this.#mode(inode) & S_IFMT) === S_IFDIR;
  }

  /** From the template at `template` of the command; 0 when there is no room. */
  createInode(op: Operation, template: number): number {
    const inode = this.inodes.take();
    if (inode === 0) return 0;
    const at = this.inodes.at(inode);
    this.addon.copy(this.#address + at, op.address + template, zus_inode.SIZE);
    this.#words[(at + zus_inode.i_ino) >>> 2] = inode;
    const longTarget = (this.#mode(inode) & S_IFMT) === S_IFLNK && this.size(inode) > 32;
    if (!longTarget) return inode;
    const target = this.#targets.take();
    if (target === 0) {
      this.inodes.give(inode);
      return 0;
    }
    const source = op.windowAddress + op.u32[(op.base + zufs_ioc_hdr.offset) >> 2];
    this.addon.copy(this.#address + this.#targets.at(target), source, this.size(inode));
    writeU64(this.#words, at + zus_inode.i_sym_dpp, this.#targets.at(target));
    return inode;
  }

  freeInode(inode: number): void {
    if ((this.#mode(inode) & S_IFMT) === S_IFLNK && this.size(inode) > 32) {
      const target = readU64(this.#words, this.inodes.at(inode) + zus_inode.i_sym_dpp);
      this.#targets.give((target - this.#targets.offset) / 4096);
    }
    this.inodes.give(inode);
  }

  /** Number of the inode with the name (`struct zufs_str`) at `name`, or -ENOENT. */
  lookup(directory: number, bytes: Uint8Array, name: number): number {
    if (bytes[name] === 1 && bytes[name + 1] === 0x2e) return directory;
    if (bytes[name] === 2 && bytes[name + 1] === 0x2e && bytes[name + 2] === 0x2e) {
      return this.#words[(this.inodes.at(directory) + zus_inode.parent) >>> 2];
    }
    const dentry = this.#find(directory, bytes, name, this.#hash(directory, bytes, name));
    return dentry === 0 ? -ENOENT : this.#words[(this.#dentries.at(dentry) >>> 2) + INODE];
  }

  addName(directory: number, bytes: Uint8Array, name: number, inode: number): boolean {
    const dentry = this.#dentries.take();
    if (dentry === 0) return false;
    const hash = this.#hash(directory, bytes, name);
    const at = this.#dentries.at(dentry);
    const bucket = this.#bucket(hash);
    const words = this.#words;
    words[(at >>> 2) + DIRECTORY] = directory;
    words[(at >>> 2) + INODE] = inode;
    words[(at >>> 2) + NEXT] = words[bucket];
    words[(at >>> 2) + HASH] = hash;
    for (let i = 0; i <= bytes[name]; i++) this.#bytes[at + NAME_BYTES + i] = bytes[name + i];
    words[bucket] = dentry;
    this.#countName(directory, inode, 1);
    if (this.isDirectory(inode)) words[(this.inodes.at(inode) + zus_inode.parent) >>> 2] = directory;
    return true;
  }

  removeName(directory: number, bytes: Uint8Array, name: number): Errno {
    const hash = this.#hash(directory, bytes, name);
    const dentry = this.#find(directory, bytes, name, hash);
    if (dentry === 0) return -ENOENT;
    const words = this.#words;
    const at = this.#dentries.at(dentry) >>> 2;
    let link = this.#bucket(hash);
    while (words[link] !== dentry) link = (this.#dentries.at(words[link]) >>> 2) + NEXT;
    words[link] = words[at + NEXT];
    this.#countName(directory, words[at + INODE], -1);
    words[at + INODE] = 0;
    this.#dentries.give(dentry);
    return 0;
  }

  /** READDIR. The position of a name is its dentry's number and two, so that it stays as names come and go. */
  list(directory: number, op: Operation): Errno {
    const base = op.base;
    const room = op.u32[(base + zufs_ioc_hdr.len) >> 2];
    let used = 0;
    let position = readU64(op.u32, base + zufs_ioc_readdir.pos);
    const last = this.#words[32 + 1] + 2;
    for (; position <= last; position++) {
      const record = this.#record(directory, position, op, used, room - used);
      if (record < 0) break;
      used += record;
    }
    if (position <= last && used === 0) return -EINVAL;
    op.u32[(base + zufs_ioc_hdr.len) >> 2] = used;
    op.u8[base + zufs_ioc_readdir.more] = position <= last ? 1 : 0;
    return 0;
  }

  /** Bytes of the record at `position`, 0 if it is not of this directory, -1 if there is no room. */
  #record(directory: number, position: number, op: Operation, used: number, room: number): number {
    const words = this.#words;
    let inode = directory;
    let length = position + 1;
    let name = -1;
    if (position === 1) inode = words[(this.inodes.at(directory) + zus_inode.parent) >>> 2];
    if (position >= 2) {
      const dentry = this.#dentries.at(position - 1);
      inode = words[(dentry >>> 2) + INODE];
      if (inode === 0 || words[(dentry >>> 2) + DIRECTORY] !== directory) return 0;
      name = dentry + NAME_BYTES;
      length = this.#bytes[name];
    }
    const size = (zufs_dir_entry.zstr_name + length + 7) & ~7;
    if (size > room) return -1;
    const at = op.u32[(op.base + zufs_ioc_hdr.offset) >> 2] + used;
    this.#putNumber(op.window, at + zufs_dir_entry.ino, inode, 8);
    op.window[at + zufs_dir_entry.type] = this.#mode(inode) >>> 12;
    this.#putNumber(op.window, at + zufs_dir_entry.type + 1, position + 1, 7);
    op.window[at + zufs_dir_entry.zstr_len] = length;
    const text = at + zufs_dir_entry.zstr_name;
    for (let i = 0; i < length; i++) op.window[text + i] = name < 0 ? 0x2e : this.#bytes[name + 1 + i];
    return size;
  }

  #putNumber(bytes: Uint8Array, at: number, value: number, length: number): void {
    for (let i = 0; i < length; i++) bytes[at + i] = i < 4 ? value >>> (8 * i) : 0;
  }

  /** Links and times after a name has come (1) or gone (-1). */
  #countName(directory: number, inode: number, change: 1 | -1): void {
    const words = this.#words;
    const parentAt = this.inodes.at(directory);
    const links = (this.inodes.at(inode) + zus_inode.i_nlink) >>> 2;
    words[(parentAt + zus_inode.a) >>> 2] += change;
    if (this.isDirectory(inode)) {
      words[links] += 2 * change;
      words[(parentAt + zus_inode.i_nlink) >>> 2] += change;
    } else words[links] += change;
    this.#stamp(directory, zus_inode.i_mtime);
    this.#stamp(directory, zus_inode.i_ctime);
    this.#stamp(inode, zus_inode.i_ctime);
  }

  #stamp(inode: number, field: number): void {
    this.addon.clockRealtimeCoarse(this.#address + this.inodes.at(inode) + field);
  }

  #mode(inode: number): number {
    return this.#words[this.inodes.at(inode) >>> 2] >>> 16;
  }

  #setMode(inode: number, mode: number): void {
    this.#words[this.inodes.at(inode) >>> 2] = mode << 16;
  }

  #bucket(hash: number): number {
    return 1024 + (hash % this.#buckets);
  }

  /** FNV-1a over the directory's number and the name. */
  #hash(directory: number, bytes: Uint8Array, name: number): number {
    let hash = Math.imul(0x811c9dc5 ^ directory, 0x01000193);
    for (let i = 0; i <= bytes[name]; i++) hash = Math.imul(hash ^ bytes[name + i], 0x01000193);
    return hash >>> 0;
  }

  #find(directory: number, bytes: Uint8Array, name: number, hash: number): number {
    const words = this.#words;
    let dentry = words[this.#bucket(hash)];
    for (; dentry !== 0; dentry = words[(this.#dentries.at(dentry) >>> 2) + NEXT]) {
      const at = this.#dentries.at(dentry);
      if (words[(at >>> 2) + HASH] !== hash || words[(at >>> 2) + DIRECTORY] !== directory) continue;
      let i = 0;
      while (i <= bytes[name] && this.#bytes[at + NAME_BYTES + i] === bytes[name + i]) i++;
      if (i > bytes[name]) return dentry;
    }
    return 0;
  }
}

/** A tmpfile has no name, and so no link. */
export function wantsName(op: Operation, flags: number): boolean {
  return (op.u32[(op.base + flags) >> 2] & FLAG.ZI_TMPFILE) === 0;
}
