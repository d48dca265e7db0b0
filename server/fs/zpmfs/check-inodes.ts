// SPDX-License-Identifier: BSD-3-Clause

import { HeaderCheck } from './check-headers.ts';
import { bytesOf, clearEntry, type MapEntry, type Patch, type Seen, u64 } from './check-state.ts';
import * as f from './format.ts';

const INODE_TABLE = { kind: 'inode table' } as const;

/** The inode table, and what single inodes own. */
export class InodeCheck extends HeaderCheck {
  /** All inodes; returns the directories. */
  protected checkInodes(): number[] {
    const record = this.source.read(f.SUPER_BLOCK);
    const root = record[f.SB_INODE_TABLE + f.X_MAP_ROOT];
    const height = record[f.SB_INODE_TABLE + f.X_MAP_HEIGHT];
    // As many as a mount takes (shared.ts): one inode for every 2 KiB.
    const max = Math.ceil(this.total / 8) + 1;
    const blocks = u64(record, f.SB_INODE_TABLE + f.I_SIZE) / f.BLOCK_SIZE;
    if (height < 1 || height > f.MAP_MAX_HEIGHT || !Number.isInteger(blocks) || blocks < 1 || blocks > max) {
      this.bad('inode table: impossible size or height', this.inodeTableFromCopy());
      return [];
    }
    this.inodeTableBlocks = [];
    this.walkMap(root, height, 0, 'inode table', null, (at, block, flags) => {
      if (at >= blocks) this.bad(`inode table: block ${at} lies behind its end`, [], INODE_TABLE);
      else if (flags !== f.MAP_PRESENT)
        this.bad(`inode table: block ${at} has flags ${flags}`, [], INODE_TABLE);
      else if (this.claim(block, 'inode table', [], INODE_TABLE)) this.inodeTableBlocks[at] = block;
    });
    const directories: number[] = [];
    for (let table = 0; table < blocks; table++) {
      const block = this.inodeTableBlocks[table];
      if (block === undefined) {
        this.bad(`inode table: block ${table} is missing`, [], INODE_TABLE);
        continue;
      }
      const content = this.source.read(block).slice();
      for (let slot = 0; slot < f.INODES_PER_BLOCK; slot++) {
        if (content[slot * f.INODE_WORDS + f.X_STATE] === 0) continue;
        const index = table * f.INODES_PER_BLOCK + slot;
        const words = content.subarray(slot * f.INODE_WORDS, (slot + 1) * f.INODE_WORDS);
        if (index === 0) this.bad('inode 0 is in use', this.inodeFix(0, f.X_STATE, 0));
        else this.checkInode(index, words, directories);
      }
    }
    return directories;
  }

  /** The record of the inode table, if the copy of the superblock has another one than it. */
  private inodeTableFromCopy(): Patch[] {
    const copy = this.source.read(f.SUPER_BACKUP_BLOCK).slice();
    const words = this.source.read(f.SUPER_BLOCK);
    const fields = [f.I_SIZE, f.I_SIZE + 1, f.X_MAP_ROOT, f.X_MAP_HEIGHT].map(
      (field) => f.SB_INODE_TABLE + field,
    );
    if (copy[f.SB_INODE_TABLE + f.X_MAP_HEIGHT] === 0) return [];
    return fields
      .filter((word) => copy[word] !== words[word])
      .map((word) => ({ block: f.SUPER_BLOCK, word, value: copy[word] }));
  }

  protected checkInode(index: number, words: Uint32Array, directories: number[]): void {
    const name = `inode ${index}`;
    if (words[f.X_STATE] !== f.INODE_IN_USE) {
      this.bad(`${name}: neither free nor in use`, this.inodeFix(index, f.X_STATE, 0));
      return;
    }
    const mode = words[f.I_FLAGS_MODE] >>> 16;
    if (!f.isValidMode(mode)) {
      this.bad(`${name}: mode ${mode.toString(8)} is of no type`, this.inodeFix(index, f.X_STATE, 0));
      return;
    }
    if (u64(words, f.I_INO) !== index)
      this.bad(
        `${name}: says it is inode ${u64(words, f.I_INO)}`,
        this.inodeFix(index, f.I_INO, index, true),
      );
    const seen: Seen = {
      index,
      mode,
      nlink: words[f.I_NLINK],
      parent: u64(words, f.I_PARENT),
      entriesStated: words[f.X_ENTRIES],
      names: 0,
      subdirectories: 0,
      entries: 0,
      foundIn: 0,
      nameDrop: [],
    };
    this.inodes.set(index, seen);
    const type = mode & f.S_IFMT;
    const size = u64(words, f.I_SIZE);
    if (size > f.MAX_FILE_SIZE)
      this.bad(`${name}: size ${size} is impossible`, this.inodeFix(index, f.I_SIZE, 0, true));
    let blocks = this.checkXattrs(index, words);
    if (type === f.S_IFREG) blocks += this.checkFile(index, name, words);
    else if (type === f.S_IFLNK) blocks += this.checkSymlink(index, name, words, size);
    else if (type === f.S_IFDIR) directories.push(index);
    else if (size !== 0) {
      const fix = this.inodeFix(index, f.I_SIZE, 0, true);
      this.bad(`${name}: a device, pipe or socket of size ${size}`, fix);
    }
    if (type !== f.S_IFDIR && u64(words, f.I_BLOCKS) !== blocks) {
      this.bad(
        `${name}: says it has ${u64(words, f.I_BLOCKS)} blocks, has ${blocks}`,
        this.inodeFix(index, f.I_BLOCKS, blocks, true),
      );
    }
  }

  protected checkFile(index: number, name: string, words: Uint32Array): number {
    const height = words[f.X_MAP_HEIGHT];
    if (height === 0) return 0;
    const noTree = (): Patch[] =>
      [f.X_MAP_HEIGHT, f.X_MAP_ROOT].flatMap((field) => this.inodeFix(index, field, 0));
    if (height > f.MAP_MAX_HEIGHT) {
      this.bad(`${name}: its tree is ${height} high`, noTree());
      return 0;
    }
    let blocks = 0;
    this.walkMap(words[f.X_MAP_ROOT], height, 0, name, noTree, (at, block, flags, entry) => {
      if ((flags & ~f.MAP_LEAF_BITS) !== 0 || (flags & f.MAP_PRESENT) === 0) {
        this.bad(`${name}: block ${at} has flags ${flags}`, clearEntry(entry));
        return;
      }
      if (at >= f.MAX_FILE_BLOCKS)
        this.bad(`${name}: block ${at} lies behind the largest possible size`, clearEntry(entry));
      if (this.claimData(block, flags, name, at, entry)) blocks++;
    });
    return blocks;
  }

  protected checkSymlink(index: number, name: string, words: Uint32Array, size: number): number {
    // Without its target there is nothing left of it.
    const free = this.inodeFix(index, f.X_STATE, 0);
    if (size === 0 || size > f.SYMLINK_MAX_BYTES) {
      this.bad(`${name}: a symbolic link of ${size} bytes`, free);
      return 0;
    }
    if (size <= f.SYMLINK_INLINE_BYTES) return 0;
    const dpp = u64(words, f.I_SYMLINK_DPP);
    if (dpp % f.BLOCK_SIZE !== 0) {
      this.bad(`${name}: its target lies at the odd place ${dpp}`, free);
      return 0;
    }
    return this.claim(dpp / f.BLOCK_SIZE, `${name}, target`, free) ? 1 : 0;
  }

  /**
   * All entries of a map below `node`, in order. `cut` takes the node out; null: it is the inode table, of which nothing is
   * cut but made anew.
   */
  protected walkMap(
    node: number,
    level: number,
    first: number,
    name: string,
    cut: (() => Patch[]) | null,
    visit: (at: number, block: number, flags: number, entry: MapEntry) => void,
  ): void {
    const remedy = cut === null ? INODE_TABLE : null;
    if (!this.isFree(node)) {
      this.claim(node, `${name}, map node`, cut?.() ?? [], remedy);
      return;
    }
    this.claim(node, name);
    const words = this.source.read(node).slice();
    const span = f.MAP_ENTRIES ** (level - 1);
    const entry: MapEntry = { node, index: 0 };
    for (let index = 0; index < f.MAP_ENTRIES; index++) {
      const tag = words[index * 2 + 1];
      const child = words[index * 2];
      if (tag === 0 && child === 0) continue;
      entry.index = index;
      if (tag === 0) this.bad(`${name}: map node ${node} has a half entry`, clearEntry(entry), remedy);
      else if (level === 1) visit(first + index, child, tag, entry);
      else if (tag !== f.MAP_NODE + level - 1)
        this.bad(`${name}: map node ${node} has a bad entry`, cut === null ? [] : clearEntry(entry), remedy);
      else {
        const cutChild = cut === null ? null : () => clearEntry({ node, index });
        this.walkMap(child, level - 1, first + index * span, name, cutChild, visit);
      }
    }
  }

  protected checkXattrs(index: number, words: Uint32Array): number {
    const count = words[f.X_XATTR_BLOCKS];
    const inline = words[f.X_XATTR_INLINE_BYTES];
    if (count === 0 && inline === 0 && words[f.X_XATTR_BLOCK] === 0) return 0;
    const name = `inode ${index}`;
    if (inline > f.XATTR_INLINE_BYTES) {
      this.bad(
        `${name}: ${inline} bytes of inline attributes`,
        this.inodeFix(index, f.X_XATTR_INLINE_BYTES, 0),
      );
      return 0;
    }
    const dropAll = [f.X_XATTR_BLOCK, f.X_XATTR_BLOCKS, f.X_XATTR_INLINE_BYTES].flatMap((field) =>
      this.inodeFix(index, field, 0),
    );
    const parts = [bytesOf(words.slice(f.X_XATTR_INLINE, f.INODE_WORDS)).slice(0, inline)];
    if (count > 0 && inline > 0)
      this.bad(`${name}: attributes inline and in blocks`, this.inodeFix(index, f.X_XATTR_INLINE_BYTES, 0));
    let block = words[f.X_XATTR_BLOCK];
    let blocks = 0;
    for (; blocks < count; blocks++) {
      if (!this.claim(block, `${name}, attributes`, dropAll)) return blocks;
      const content = this.source.read(block);
      const used = content[f.XB_BYTES];
      if (
        content[f.XB_MAGIC] !== f.XATTR_MAGIC ||
        content[f.XB_OWNER] !== index ||
        used > f.XATTR_BLOCK_BYTES
      ) {
        this.bad(`${name}: attribute block ${block} is not one of its own`, dropAll);
        return blocks + 1;
      }
      const part = bytesOf(content.slice());
      parts.push(part.slice(f.XB_DATA * 4, f.XB_DATA * 4 + used));
      block = content[f.XB_NEXT];
    }
    if (block !== 0) this.bad(`${name}: more attribute blocks than it says`, dropAll);
    this.checkXattrStream(name, index, Buffer.concat(parts), dropAll);
    return blocks;
  }

  /** Records: value length (2 bytes), type, name length, name, value. Those of quotas are the root's. */
  protected checkXattrStream(
    name: string,
    index: number,
    stream: Uint8Array,
    dropAll: readonly Patch[],
  ): void {
    const names = new Set<string>();
    for (let at = 0; at < stream.length; ) {
      if (at + 4 > stream.length) {
        this.bad(`${name}: an attribute is cut short`, dropAll);
        return;
      }
      const valueLength = stream[at] | (stream[at + 1] << 8);
      const type = stream[at + 2];
      const nameLength = stream[at + 3];
      const next = at + 4 + nameLength + valueLength;
      const isQuota =
        type === f.XATTR_QUOTA &&
        index === f.ROOT_INODE &&
        f.isQuotaRecord(stream[at + 4], nameLength, valueLength);
      if (next > stream.length || nameLength === 0 || type < 1 || (type > 4 && !isQuota)) {
        const what = type === f.XATTR_QUOTA ? ' (limits of quotas go with it)' : '';
        this.bad(`${name}: an attribute makes no sense${what}`, dropAll);
        return;
      }
      const key = `${type}:${Buffer.from(stream.subarray(at + 4, at + 4 + nameLength)).toString('latin1')}`;
      if (names.has(key)) this.bad(`${name}: an attribute is there twice`, dropAll);
      names.add(key);
      at = next;
    }
  }
}
