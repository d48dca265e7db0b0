// SPDX-License-Identifier: BSD-3-Clause

import { Checker } from './check.ts';
import {
  bytesOf,
  type CheckResult,
  FREE,
  METADATA,
  type Problem,
  u64,
  type WritableSource,
} from './check-state.ts';
import { encodeDeviceTable } from './device-table.ts';
import { hashName } from './directory.ts';
import * as f from './format.ts';
import { buildDirectory, buildMap, type DirectoryName, type NewBlocks, RebuildError } from './rebuild.ts';
import type { Superblock } from './superblock.ts';

/**
 * fsck -y: mend what a check found, and check again, until a check finds nothing that can be mended. Contents of files
 * are never thrown away: what has lost its name gets one in lost+found.
 */

export interface RepairResult {
  /** What is left. */
  readonly result: CheckResult;
  /** What was wrong and is mended. */
  readonly mended: readonly Problem[];
}

const PASSES_MAX = 30;
const LOST_AND_FOUND = new TextEncoder().encode('lost+found');

/** In this order, each only when a check finds nothing of those before: a name whose inode may come back is not dropped. */
const STAGES: readonly ((problem: Problem) => boolean)[] = [
  ({ remedy }) => remedy?.kind === 'device tables',
  ({ fixes }) => fixes.length > 0 && fixes.every(({ block }) => block <= f.SUPER_BACKUP_BLOCK),
  ({ remedy }) => remedy?.kind === 'inode table',
  ({ remedy }) => remedy?.kind === 'root',
  ({ remedy }) => remedy?.kind === 'directory',
  ({ fixes }) => fixes.length > 0,
  ({ remedy }) => remedy?.kind === 'lost',
];

/** Durable on return. Cut short by a power failure, it can be done again, and nothing is lost by that. */
export function repairFileSystem(source: WritableSource): RepairResult {
  const mended: Problem[] = [];
  const given = new Set<string>();
  for (let pass = 0; ; pass++) {
    new Checker(source).replayInto(source);
    const repairer = new Repairer(source);
    const result = repairer.run();
    const left = result.problems.filter(({ what }) => !given.has(what));
    const stage = STAGES.find((belongs) => left.some((problem) => belongs(problem)));
    if (stage === undefined || pass === PASSES_MAX) return { result, mended };
    const problems = left.filter((problem) => stage(problem));
    const isDone = repairer.mend(problems);
    // What could not be mended, or comes back although it was, is not tried for ever.
    for (const { what, fixes } of problems) if (!isDone || fixes.length === 0) given.add(what);
    if (!isDone) continue;
    for (const problem of problems) mended.push(problem);
  }
}

class Repairer extends Checker {
  private readonly target: WritableSource;
  private readonly blocks: NewBlocks = new Map();
  /** Those of `blocks` that were free: nothing leads to them before the others are written. */
  private readonly taken = new Set<number>();
  private cursor = 0;

  constructor(target: WritableSource) {
    super(target);
    this.target = target;
  }

  /** Problems of one stage. False when there is no room for it. */
  mend(problems: readonly Problem[]): boolean {
    this.cursor = this.total;
    try {
      for (const { fixes } of problems) for (const fix of fixes) this.set(fix.block, fix.word, fix.value);
      const kinds = new Set(problems.map(({ remedy }) => remedy?.kind));
      if (kinds.has('device tables')) this.makeDeviceTables();
      if (kinds.has('inode table')) this.makeInodeTable();
      if (kinds.has('root')) this.makeRoot();
      const directories = problems.flatMap(({ remedy }) =>
        remedy?.kind === 'directory' ? [remedy.index] : [],
      );
      for (const index of new Set(directories)) this.setNames(index, this.readNames(index));
      const lost = problems.flatMap(({ remedy }) => (remedy?.kind === 'lost' ? [remedy.index] : []));
      if (lost.length > 0 && problems.every(({ fixes }) => fixes.length === 0)) this.nameLost(lost);
    } catch (error) {
      if (error instanceof NoRoomError || error instanceof RebuildError) return false;
      throw error;
    }
    this.writeAll();
    return true;
  }

  /** First what no longer holds is forgotten, then new blocks are written, then what leads to them, in the place of what was there. */
  private writeAll(): void {
    const { target } = this;
    // What a clean unmount has saved of the allocator speaks of the file system as it was, and the next mount would believe it.
    if (this.total > 0 && this.word(f.SUPER_BLOCK, f.SB_SAVED_BLOCK) !== 0) {
      this.set(f.SUPER_BLOCK, f.SB_SAVED_BLOCK, 0);
      const words = target.read(f.SUPER_BLOCK).slice();
      words[f.SB_SAVED_BLOCK] = 0;
      target.write(f.SUPER_BLOCK, words);
      target.flush();
    }
    if (this.taken.size > 0) {
      for (const [block, words] of this.blocks) if (this.taken.has(block)) target.write(block, words);
      target.flush();
    }
    for (const [block, words] of this.blocks) if (!this.taken.has(block)) target.write(block, words);
    target.flush();
  }

  private word(block: number, word: number): number {
    return (this.blocks.get(block) ?? this.target.read(block))[word];
  }

  private set(block: number, word: number, value: number): void {
    let words = this.blocks.get(block);
    if (words === undefined) {
      words = this.target.read(block).slice();
      this.blocks.set(block, words);
    }
    words[word] = value;
  }

  private readonly take = (): number => {
    while (--this.cursor > 0) {
      if (this.owners[this.cursor] !== FREE) continue;
      this.taken.add(this.cursor);
      return this.cursor;
    }
    throw new NoRoomError();
  };

  private makeDeviceTables(): void {
    const superblock = this.superblock ?? this.readSuperblock();
    if (superblock === null) throw new NoRoomError();
    const table = this.table;
    // Only what the other tables say tells where their devices begin.
    if (table === null && superblock.devices !== 1) throw new NoRoomError();
    const devices = table?.devices ?? [
      {
        uuid: crypto.getRandomValues(new Uint8Array(16)),
        blocks: Math.floor(this.source.blocks / 512) * 512,
        node: 0,
      },
    ];
    let start = 0;
    devices.forEach((device, index) => {
      const bytes = encodeDeviceTable({ uuid: superblock.uuid, index, devices }, superblock.created);
      const words = this.target.read(start).slice();
      words.set(new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
      this.blocks.set(start, words);
      start += device.blocks;
    });
  }

  /** Blocks that are known stay, blocks of inodes that nothing points to are looked for, the rest become empty ones. */
  private makeInodeTable(): void {
    const size = u64(this.source.read(f.SUPER_BLOCK), f.SB_INODE_TABLE + f.I_SIZE) / f.BLOCK_SIZE;
    const found = [...this.inodeTableBlocks];
    for (let block = 1; block < this.total; block++) {
      if (this.owners[block] !== FREE) continue;
      const at = tableIndexOf(this.source.read(block));
      if (at === null || at >= size || found[at] !== undefined) continue;
      found[at] = block;
      this.owners[block] = METADATA;
    }
    if (found.length === 0) throw new NoRoomError();
    const targets = Array.from(found, (block) => {
      if (block !== undefined) return block;
      const empty = this.take();
      this.blocks.set(empty, new Uint32Array(f.BLOCK_WORDS));
      return empty;
    });
    const { root, height } = buildMap(targets, this.take, this.blocks);
    this.set(f.SUPER_BLOCK, f.SB_INODE_TABLE + f.X_MAP_ROOT, root);
    this.set(f.SUPER_BLOCK, f.SB_INODE_TABLE + f.X_MAP_HEIGHT, height);
    this.set(f.SUPER_BLOCK, f.SB_INODE_TABLE + f.I_SIZE, targets.length * f.BLOCK_SIZE);
    this.set(
      f.SUPER_BLOCK,
      f.SB_INODE_TABLE + f.I_SIZE + 1,
      Math.floor((targets.length * f.BLOCK_SIZE) / f.TWO_32),
    );
  }

  private makeRoot(): void {
    const index = (this.superblock as Superblock).rootInode;
    if (this.inodeTableBlocks[index >>> 4] === undefined) throw new NoRoomError();
    this.makeDirectory(index, index);
  }

  /** An empty directory in the slot of an inode. */
  private makeDirectory(index: number, parent: number): void {
    const block = this.inodeTableBlocks[index >>> 4];
    const at = (index & 15) * f.INODE_WORDS;
    const generation = this.word(block, at + f.I_GENERATION) + 1;
    for (let word = 0; word < f.INODE_WORDS; word++) this.set(block, at + word, 0);
    const { created } = this.superblock as Superblock;
    for (const field of [f.I_MTIME, f.I_CTIME, f.I_ATIME, f.X_BIRTH]) {
      this.set(block, at + field, Number(created & 0xffffffffn));
      this.set(block, at + field + 1, Number(created >> 32n));
    }
    this.set(block, at + f.I_FLAGS_MODE, (f.S_IFDIR | 0o700) * 65536);
    this.set(block, at + f.I_NLINK, 2);
    this.set(block, at + f.I_INO, index);
    this.set(block, at + f.I_GENERATION, generation);
    this.set(block, at + f.I_PARENT, parent);
    this.set(block, at + f.X_STATE, f.INODE_IN_USE);
  }

  /** What can be read of a directory, through whatever damage. */
  private readNames(index: number): DirectoryName[] {
    const names = new Map<string, DirectoryName>();
    const visited = new Set<number>();
    const visit = (block: number, tag: number, level: number): void => {
      if (block <= 0 || block >= this.total || visited.has(block)) return;
      visited.add(block);
      const words = this.source.read(block).slice();
      if ((tag & f.DIR_KIND_MASK) === f.DIR_NODE && level < f.DIR_MAX_LEVELS) {
        for (let slot = 0; slot < f.DIR_ENTRIES; slot++)
          visit(words[slot * 2], words[slot * 2 + 1], level + 1);
      } else if (words[f.DL_MAGIC] === f.DIR_LEAF_MAGIC && words[f.DL_OWNER] === index) {
        for (const name of this.namesOfLeaf(words))
          names.set(Buffer.from(name.name).toString('latin1'), name);
      }
    };
    const inode = this.inodeWords(index);
    visit(inode[f.I_DIR_ROOT], inode[f.I_DIR_ROOT + 1], 0);
    return [...names.values()];
  }

  private namesOfLeaf(words: Uint32Array): DirectoryName[] {
    const names: DirectoryName[] = [];
    const seed = (this.superblock as Superblock).hashSeed;
    for (let at = f.DL_RECORDS; at < f.BLOCK_WORDS; ) {
      const shape = words[at + f.DR_SHAPE];
      const length = shape & 0xffff;
      const nameLength = (shape >>> 16) & 0xff;
      if (length < f.DR_MIN_WORDS || at + length > f.BLOCK_WORDS) return names;
      const name = bytesOf(words).slice((at + f.DR_NAME) * 4, (at + f.DR_NAME) * 4 + nameLength);
      const ino = words[at + f.DR_INO];
      const type = this.inodes.get(ino)?.mode ?? 0;
      const hash = hashName(name, 0, nameLength, seed) >>> 0;
      if (type !== 0 && nameLength > 0 && hash === words[at + f.DR_HASH])
        names.push({ name, hash, ino, type: type >>> 12 });
      at += length;
    }
    return names;
  }

  /** Give a directory a new tree with these names. */
  private setNames(index: number, names: readonly DirectoryName[]): void {
    const fresh: NewBlocks = new Map();
    const { block, tag } = buildDirectory(index, names, this.take, fresh);
    for (const [number, words] of fresh) this.blocks.set(number, words);
    const inode = this.inodeTableBlocks[index >>> 4];
    const at = (index & 15) * f.INODE_WORDS;
    this.set(inode, at + f.I_DIR_ROOT, block);
    this.set(inode, at + f.I_DIR_ROOT + 1, tag);
    this.set(inode, at + f.I_BLOCKS, fresh.size + this.word(inode, at + f.X_XATTR_BLOCKS));
    this.set(inode, at + f.I_BLOCKS + 1, 0);
    this.set(inode, at + f.I_SIZE, fresh.size * f.BLOCK_SIZE);
    this.set(inode, at + f.I_SIZE + 1, 0);
    this.set(inode, at + f.X_ENTRIES, names.length);
  }

  /** Names in lost+found, which is made when it is not there; in the root itself when there is no inode for it. */
  private nameLost(indices: readonly number[]): void {
    const root = (this.superblock as Superblock).rootInode;
    const rootNames = this.readNames(root);
    const there = rootNames.find(({ name }) => Buffer.compare(name, LOST_AND_FOUND) === 0);
    const isUsable = there !== undefined && there.type === f.S_IFDIR >>> 12 && !indices.includes(there.ino);
    const added = indices.map((index) => this.nameOf(`#${index}`, index));
    if (isUsable) {
      this.addNames(there.ino, this.readNames(there.ino), added);
      return;
    }
    const free = there === undefined ? this.freeInode() : null;
    if (free === null) {
      this.addNames(root, rootNames, added);
      return;
    }
    this.makeDirectory(free, root);
    this.setNames(free, added);
    const hash = this.hashOf(LOST_AND_FOUND);
    this.setNames(root, [...rootNames, { name: LOST_AND_FOUND, hash, ino: free, type: f.S_IFDIR >>> 12 }]);
  }

  private addNames(
    directory: number,
    names: readonly DirectoryName[],
    added: readonly DirectoryName[],
  ): void {
    const taken = new Set(names.map(({ name }) => Buffer.from(name).toString('latin1')));
    const fresh = added.map((entry) => {
      let { name } = entry;
      for (let number = 1; taken.has(Buffer.from(name).toString('latin1')); number++)
        name = new TextEncoder().encode(`#${entry.ino}.${number}`);
      return { ...entry, name, hash: this.hashOf(name) };
    });
    this.setNames(directory, [...names, ...fresh]);
  }

  private nameOf(text: string, ino: number): DirectoryName {
    const name = new TextEncoder().encode(text);
    return { name, hash: this.hashOf(name), ino, type: (this.inodes.get(ino)?.mode ?? 0) >>> 12 };
  }

  private hashOf(name: Uint8Array): number {
    return hashName(name, 0, name.length, (this.superblock as Superblock).hashSeed) >>> 0;
  }

  private freeInode(): number | null {
    for (const [table, block] of this.inodeTableBlocks.entries()) {
      for (let slot = table === 0 ? 1 : 0; slot < f.INODES_PER_BLOCK; slot++) {
        if (this.word(block, slot * f.INODE_WORDS + f.X_STATE) === 0)
          return table * f.INODES_PER_BLOCK + slot;
      }
    }
    return null;
  }
}

/** Nothing free to build it of; what cannot be mended is told. */
class NoRoomError extends Error {}

/** Which block of the inode table this is, by the inodes in it; null when it is none. */
function tableIndexOf(words: Uint32Array): number | null {
  let table: number | null = null;
  for (let slot = 0; slot < f.INODES_PER_BLOCK; slot++) {
    const at = slot * f.INODE_WORDS;
    if (words[at + f.X_STATE] !== f.INODE_IN_USE) continue;
    const index = words[at + f.I_INO];
    if ((index & 15) !== slot || words[at + f.I_INO + 1] !== 0) return null;
    if (table !== null && table !== index >>> 4) return null;
    table = index >>> 4;
  }
  return table;
}
