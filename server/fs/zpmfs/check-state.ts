// SPDX-License-Identifier: BSD-3-Clause

import type { DeviceTable } from './device-table.ts';
import * as f from './format.ts';
import type { Superblock } from './superblock.ts';

/** Where blocks come from: memory, a file, several devices. */
export interface BlockSource {
  readonly blocks: number;
  /** The block's words; the caller does not keep them past the next call. */
  read(block: number): Uint32Array;
}

/** A word of the media that ought to be another. */
export interface Patch {
  readonly block: number;
  readonly word: number;
  readonly value: number;
}

export interface Problem {
  /** What is wrong, in words that name the thing. */
  readonly what: string;
  /** Words that mend it; empty when that takes more. */
  readonly fixes: readonly Patch[];
  /** What mends it by making something anew (repair.ts). */
  readonly remedy: Remedy | null;
  toString(): string;
}

export type Remedy =
  /** Device tables, from the superblock and from each other. */
  | { readonly kind: 'device tables' }
  /** The map of the inode table, from the blocks that are known or can be found. */
  | { readonly kind: 'inode table' }
  /** An empty root directory. */
  | { readonly kind: 'root' }
  /** The tree of a directory, from the names that can be read. */
  | { readonly kind: 'directory'; readonly index: number }
  /** A name in lost+found. */
  | { readonly kind: 'lost'; readonly index: number };

export interface CheckResult {
  readonly problems: readonly Problem[];
  /** What is worth saying but not wrong. */
  readonly notes: readonly string[];
  readonly superblock: Superblock | null;
  readonly table: DeviceTable | null;
  readonly counts: {
    readonly directories: number;
    readonly files: number;
    readonly others: number;
    readonly usedBlocks: number;
    readonly sharedBlocks: number;
  };
}

export function memorySource(bytes: Uint8Array): WritableSource {
  const blocks = Math.floor(bytes.length / f.BLOCK_SIZE);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, blocks * f.BLOCK_WORDS);
  return {
    blocks,
    read: (block) => words.subarray(block * f.BLOCK_WORDS, (block + 1) * f.BLOCK_WORDS),
    write: (block, content) => words.set(content, block * f.BLOCK_WORDS),
  };
}

/** A source that can be mended. */
export interface WritableSource extends BlockSource {
  write(block: number, words: Uint32Array): void;
}

/** Blocks as recovery will leave them: what the source has, with the records of the journal applied. */
export class RecoveredSource implements BlockSource {
  private readonly source: BlockSource;
  private readonly patched = new Map<number, Uint32Array>();

  constructor(source: BlockSource) {
    this.source = source;
  }

  get blocks(): number {
    return this.source.blocks;
  }

  read(block: number): Uint32Array {
    return this.patched.get(block) ?? this.source.read(block);
  }

  patches(): Iterable<[number, Uint32Array]> {
    return this.patched;
  }

  patch(block: number, word: number, value: number): void {
    let words = this.patched.get(block);
    if (words === undefined) {
      words = Uint32Array.from(this.source.read(block));
      this.patched.set(block, words);
    }
    words[word] = value;
  }
}

export const FREE = 0;
export const METADATA = 1;
export const DATA = 2;

/** What the walk has learned of an inode. */
export interface Seen {
  readonly index: number;
  readonly mode: number;
  readonly nlink: number;
  readonly parent: number;
  readonly entriesStated: number;
  /** Names that point to it. */
  names: number;
  subdirectories: number;
  entries: number;
  /** For a directory: the one that has it, and what takes it out of there. */
  foundIn: number;
  nameDrop: readonly Patch[];
}

/** What a check knows so far: which blocks are whose, and what is wrong. */
export class CheckState {
  protected readonly source: RecoveredSource;
  protected readonly problems: Problem[] = [];
  protected readonly notes: string[] = [];
  protected kind = new Uint8Array(0);
  protected references = new Uint32Array(0);
  /** Data blocks that an entry without the shared flag points to. */
  protected exclusive = new Uint8Array(0);
  protected readonly inodes = new Map<number, Seen>();
  protected superblock: Superblock | null = null;
  protected table: DeviceTable | null = null;
  protected total = 0;
  protected inodeTableBlocks: number[] = [];

  constructor(source: BlockSource) {
    this.source = new RecoveredSource(source);
  }

  protected bad(what: string, fixes: readonly Patch[] = [], remedy: Remedy | null = null): void {
    this.problems.push({ what, fixes, remedy, toString: () => what });
  }

  /** What sets a field of an inode; a 64-bit one when `wide`. */
  protected inodeFix(index: number, field: number, value: number, wide = false): Patch[] {
    const block = this.inodeTableBlocks[index >>> 4];
    const word = (index & 15) * f.INODE_WORDS + field;
    const fix = [{ block, word, value: value >>> 0 }];
    if (wide) fix.push({ block, word: word + 1, value: Math.floor(value / f.TWO_32) });
    return fix;
  }

  protected claim(
    block: number,
    what: string,
    fixes: readonly Patch[] = [],
    remedy: Remedy | null = null,
  ): boolean {
    if (block <= 0 || block >= this.total) {
      this.bad(`${what}: block ${block} is outside of the file system`, fixes, remedy);
      return false;
    }
    if (this.kind[block] !== FREE) {
      this.bad(`${what}: block ${block} is in use for something else`, fixes, remedy);
      return false;
    }
    this.kind[block] = METADATA;
    return true;
  }

  protected claimData(block: number, flags: number, what: string, fixes: readonly Patch[]): boolean {
    if (block <= 0 || block >= this.total) {
      this.bad(`${what}: block ${block} is outside of the file system`, fixes);
      return false;
    }
    if (this.kind[block] === METADATA) {
      this.bad(`${what}: block ${block} is in use for something else`, fixes);
      return false;
    }
    const isShared = (flags & f.MAP_SHARED) !== 0;
    if (this.kind[block] === DATA && (!isShared || this.exclusive[block] !== 0)) {
      this.bad(`${what}: block ${block} belongs to another file too`, fixes);
      return false;
    }
    if (!isShared) this.exclusive[block] = 1;
    this.kind[block] = DATA;
    this.references[block]++;
    return true;
  }

  protected inodeWords(index: number): Uint32Array {
    const block = this.inodeTableBlocks[index >>> 4];
    const at = (index & 15) * f.INODE_WORDS;
    return Uint32Array.from(this.source.read(block).subarray(at, at + f.INODE_WORDS));
  }
}

export function u64(words: Uint32Array, at: number): number {
  return words[at] + words[at + 1] * f.TWO_32;
}

export function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
