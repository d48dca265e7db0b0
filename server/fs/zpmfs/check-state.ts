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

/** An entry of a node of a map. The walk has one that it changes as it goes on: there are as many as blocks. */
export interface MapEntry {
  node: number;
  index: number;
}

/** What makes it a hole. */
export function clearEntry({ node, index }: MapEntry): Patch[] {
  return [
    { block: node, word: index * 2, value: 0 },
    { block: node, word: index * 2 + 1, value: 0 },
  ];
}

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
    flush: () => {},
  };
}

/** A source that can be mended. What is written is durable behind the next `flush`; before, any part of it may be. */
export interface WritableSource extends BlockSource {
  write(block: number, words: Uint32Array): void;
  flush(): void;
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
    return (this.isPatched ? this.patched.get(block) : undefined) ?? this.source.read(block);
  }

  get isPatched(): boolean {
    return this.patched.size > 0;
  }

  patches(): Iterable<[number, Uint32Array]> {
    return this.patched;
  }

  patch(block: number, word: number, value: number): void {
    let words = this.patched.get(block);
    if (words === undefined) {
      words = this.source.read(block).slice();
      this.patched.set(block, words);
    }
    words[word] = value;
  }
}

// Owners of a block, as a clean unmount saves them: none, so many entries of maps of files, or one that is no map of a file.
export const FREE = 0;
export const METADATA = 0xffff;
const ENTRIES_MAX = METADATA - 1;

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
  /** FREE, METADATA or entries of maps, by block; block 0 is not in it. */
  protected owners = new Uint16Array(0);
  protected usedBlocks = 0;
  protected sharedBlocks = 0;
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

  protected isFree(block: number): boolean {
    return block > 0 && block < this.total && this.owners[block] === FREE;
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
    if (this.owners[block] !== FREE) {
      this.bad(`${what}: block ${block} is in use for something else`, fixes, remedy);
      return false;
    }
    this.owners[block] = METADATA;
    this.usedBlocks++;
    return true;
  }

  /** The block that an entry of the map of a file points to. */
  protected claimData(block: number, flags: number, name: string, at: number, entry: MapEntry): boolean {
    const owners = block > 0 && block < this.total ? this.owners[block] : METADATA;
    const isShared = (flags & f.MAP_SHARED) !== 0;
    if (owners === METADATA || (owners !== FREE && (!isShared || this.exclusive[block] !== 0))) {
      const why =
        owners !== METADATA
          ? 'belongs to another file too'
          : block > 0 && block < this.total
            ? 'is in use for something else'
            : 'is outside of the file system';
      this.bad(`${name}, block ${at}: block ${block} ${why}`, clearEntry(entry));
      return false;
    }
    if (!isShared) this.exclusive[block] = 1;
    if (owners === FREE) this.usedBlocks++;
    if (owners === 1) this.sharedBlocks++;
    if (owners < ENTRIES_MAX) this.owners[block] = owners + 1;
    return true;
  }

  protected inodeWords(index: number): Uint32Array {
    const block = this.inodeTableBlocks[index >>> 4];
    const at = (index & 15) * f.INODE_WORDS;
    return this.source.read(block).slice(at, at + f.INODE_WORDS);
  }
}

export function u64(words: Uint32Array, at: number): number {
  return words[at] + words[at + 1] * f.TWO_32;
}

export function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
