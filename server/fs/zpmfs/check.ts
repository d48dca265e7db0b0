// SPDX-License-Identifier: BSD-3-Clause

import { CONST } from '../../abi/layout.ts';
import { type DeviceTable, decodeDeviceTable } from './device-table.ts';
import { hashName } from './directory.ts';
import * as f from './format.ts';
import { decodeSuperblock, type Superblock } from './superblock.ts';

/**
 * fsck: everything on the media against everything else, read-only. It shares the format's constants with the file
 * system and nothing of its code, so that a mistake there is not repeated here.
 */

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
  /** What mends it; empty when nothing simple does. */
  readonly fixes: readonly Patch[];
  toString(): string;
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
  };
}

/** A source that can be mended. */
export interface WritableSource extends BlockSource {
  write(block: number, words: Uint32Array): void;
}

export interface RepairResult {
  /** What is left. */
  readonly result: CheckResult;
  /** What was wrong and is mended. */
  readonly mended: readonly Problem[];
}

const PASSES_MAX = 20;

/** Replay the journal, then mend what has a simple remedy, until a pass finds nothing more to mend. */
export function repairFileSystem(source: WritableSource): RepairResult {
  const mended: Problem[] = [];
  new Checker(source).replayInto(source);
  for (let pass = 0; ; pass++) {
    const result = checkFileSystem(source);
    const mendable = result.problems.filter((problem) => problem.fixes.length > 0);
    if (mendable.length === 0 || pass === PASSES_MAX) return { result, mended };
    for (const problem of mendable) {
      for (const { block, word, value } of problem.fixes) {
        const words = Uint32Array.from(source.read(block));
        words[word] = value;
        source.write(block, words);
      }
    }
    mended.push(...mendable);
  }
}

export function checkFileSystem(source: BlockSource): CheckResult {
  return new Checker(source).run();
}

/** Blocks as recovery will leave them: what the source has, with the records of the journal applied. */
class RecoveredSource implements BlockSource {
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

const FREE = 0;
const METADATA = 1;
const DATA = 2;

/** What the walk has learned of an inode. */
interface Seen {
  readonly index: number;
  readonly mode: number;
  readonly nlink: number;
  readonly parent: number;
  readonly entriesStated: number;
  /** Names that point to it. */
  names: number;
  subdirectories: number;
  entries: number;
  /** For a directory: the one that has it. */
  foundIn: number;
}

class Checker {
  private readonly source: RecoveredSource;
  private readonly problems: Problem[] = [];
  private readonly notes: string[] = [];
  private kind = new Uint8Array(0);
  private references = new Uint32Array(0);
  /** Data blocks that an entry without the shared flag points to. */
  private exclusive = new Uint8Array(0);
  private readonly inodes = new Map<number, Seen>();
  private superblock: Superblock | null = null;
  private table: DeviceTable | null = null;
  private total = 0;
  private inodeTableBlocks: number[] = [];

  constructor(source: BlockSource) {
    this.source = new RecoveredSource(source);
  }

  run(): CheckResult {
    if (this.checkHeaders()) this.checkTree();
    let usedBlocks = 0;
    let sharedBlocks = 0;
    for (let block = 0; block < this.total; block++) {
      if (this.kind[block] !== FREE) usedBlocks++;
      if (this.references[block] > 1) sharedBlocks++;
    }
    const all = [...this.inodes.values()];
    const ofType = (type: number) => all.filter((seen) => (seen.mode & f.S_IFMT) === type).length;
    const directories = ofType(f.S_IFDIR);
    const files = ofType(f.S_IFREG);
    return {
      problems: this.problems,
      notes: this.notes,
      superblock: this.superblock,
      table: this.table,
      counts: { directories, files, others: all.length - directories - files, usedBlocks, sharedBlocks },
    };
  }

  /** Apply the transactions in the journal, and empty it. */
  replayInto(target: WritableSource): void {
    if (!this.checkHeaders()) return;
    for (const [block, words] of this.source.patches()) target.write(block, words);
    const { journalFirst, journalSlots } = this.superblock as Superblock;
    for (let slot = 0; slot < journalSlots; slot++) {
      const first = journalFirst + slot * f.JOURNAL_SLOT_BLOCKS;
      const words = Uint32Array.from(target.read(first));
      if (words[f.J_MAGIC] === 0) continue;
      words[f.J_MAGIC] = 0;
      target.write(first, words);
    }
  }

  private bad(what: string, fixes: readonly Patch[] = []): void {
    this.problems.push({ what, fixes, toString: () => what });
  }

  /** What sets a field of an inode; a 64-bit one when `wide`. */
  private inodeFix(index: number, field: number, value: number, wide = false): Patch[] {
    const block = this.inodeTableBlocks[index >>> 4];
    const word = (index & 15) * f.INODE_WORDS + field;
    const fix = [{ block, word, value: value >>> 0 }];
    if (wide) fix.push({ block, word: word + 1, value: Math.floor(value / f.TWO_32) });
    return fix;
  }

  // --- superblock, device tables, journal ---

  private checkHeaders(): boolean {
    if (this.source.blocks < f.JOURNAL_FIRST_BLOCK) {
      this.bad('the device is too small to hold a file system');
      return false;
    }
    const table = decodeDeviceTable(bytesOf(this.source.read(f.DEVICE_TABLE_BLOCK)).slice(0, CONST.MDT_SIZE));
    if (typeof table === 'string') {
      this.bad(`device 0: ${table}`);
      return false;
    }
    this.table = table;
    const words = Uint32Array.from(this.source.read(f.SUPER_BLOCK));
    const superblock = decodeSuperblock(words);
    if (typeof superblock === 'string') {
      const copy = Uint32Array.from(this.source.read(f.SUPER_BACKUP_BLOCK));
      const isCopyGood = typeof decodeSuperblock(copy) !== 'string';
      this.bad(superblock, isCopyGood ? patchesOf(f.SUPER_BLOCK, copy) : []);
      return false;
    }
    this.superblock = superblock;
    this.total = superblock.totalBlocks;
    if (this.total > this.source.blocks) {
      this.bad(`superblock speaks of ${this.total} blocks, the devices have ${this.source.blocks}`);
      return false;
    }
    const backup = this.source.read(f.SUPER_BACKUP_BLOCK);
    for (let word = 0; word <= f.SB_CHECKSUM; word++) {
      if (backup[word] !== words[word]) {
        this.bad('the copy of the superblock differs from it', patchesOf(f.SUPER_BACKUP_BLOCK, words));
        break;
      }
    }
    if (Buffer.compare(table.uuid, superblock.uuid) !== 0)
      this.bad('device table and superblock differ in their UUID');
    if (table.devices.length !== superblock.devices)
      this.bad('device table and superblock differ in the number of devices');
    this.kind = new Uint8Array(this.total);
    this.references = new Uint32Array(this.total);
    this.exclusive = new Uint8Array(this.total);
    this.kind[0] = METADATA;
    this.claimFixed(table, superblock);
    const state = words[f.SB_STATE];
    if (state !== f.STATE_CLEAN && state !== f.STATE_IN_USE)
      this.bad(`superblock has the unknown state ${state}`, [
        { block: f.SUPER_BLOCK, word: f.SB_STATE, value: f.STATE_IN_USE },
      ]);
    if (state === f.STATE_IN_USE) this.notes.push('was not unmounted');
    return this.readJournal(superblock, state === f.STATE_CLEAN);
  }

  private claimFixed(table: DeviceTable, superblock: Superblock): void {
    for (let block = 1; block < f.JOURNAL_FIRST_BLOCK; block++) this.claim(block, 'superblock');
    let start = 0;
    table.devices.forEach((device, index) => {
      if (index > 0 && start < this.total) {
        this.claim(start, `table of device ${index}`);
        const other = decodeDeviceTable(bytesOf(this.source.read(start)).slice(0, CONST.MDT_SIZE));
        if (typeof other === 'string') this.bad(`device ${index}: ${other}`);
        else if (other.index !== index || Buffer.compare(other.uuid, table.uuid) !== 0) {
          this.bad(`device ${index}: its table is that of another device`);
        }
      }
      start += device.blocks;
    });
    for (let block = 0; block < superblock.journalSlots * f.JOURNAL_SLOT_BLOCKS; block++) {
      this.claim(superblock.journalFirst + block, 'journal');
    }
  }

  /** See the file system as it is after recovery. */
  private readJournal(superblock: Superblock, isClean: boolean): boolean {
    const log = new Uint32Array(f.JOURNAL_SLOT_WORDS);
    let pending = 0;
    for (let slot = 0; slot < superblock.journalSlots; slot++) {
      const first = superblock.journalFirst + slot * f.JOURNAL_SLOT_BLOCKS;
      if (this.source.read(first)[f.J_MAGIC] !== f.JOURNAL_MAGIC) continue;
      for (let block = 0; block < f.JOURNAL_SLOT_BLOCKS; block++) {
        log.set(this.source.read(first + block), block * f.BLOCK_WORDS);
      }
      const words = log[f.J_WORDS];
      if (words <= f.J_RECORDS || words > f.JOURNAL_SLOT_WORDS) continue;
      if (f.checkWords(log, f.J_SEQUENCE, words, f.JOURNAL_CHECK_SEED_LOW) >>> 0 !== log[f.J_CHECK_LOW])
        continue;
      if (f.checkWords(log, f.J_SEQUENCE, words, f.JOURNAL_CHECK_SEED_HIGH) >>> 0 !== log[f.J_CHECK_HIGH])
        continue;
      pending++;
      for (let at = f.J_RECORDS; at < words; ) {
        const block = log[at];
        const word = log[at + 1] >>> 16;
        const count = log[at + 1] & 0xffff;
        if (
          block === 0 ||
          block >= this.total ||
          count === 0 ||
          word + count > f.BLOCK_WORDS ||
          at + 2 + count > words
        ) {
          this.bad(`journal slot ${slot} has a record that leads nowhere`);
          return false;
        }
        for (let index = 0; index < count; index++)
          this.source.patch(block, word + index, log[at + 2 + index]);
        at += 2 + count;
      }
    }
    if (pending > 0) {
      this.notes.push(`${pending} transactions in the journal are to be replayed by the next mount`);
      if (isClean) this.bad('the file system says it is clean, but its journal is not empty');
    }
    return true;
  }

  private claim(block: number, what: string, fixes: readonly Patch[] = []): boolean {
    if (block <= 0 || block >= this.total) {
      this.bad(`${what}: block ${block} is outside of the file system`, fixes);
      return false;
    }
    if (this.kind[block] !== FREE) {
      this.bad(`${what}: block ${block} is in use for something else`, fixes);
      return false;
    }
    this.kind[block] = METADATA;
    return true;
  }

  private claimData(block: number, flags: number, what: string, fixes: readonly Patch[]): boolean {
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

  // --- inodes ---

  private checkTree(): void {
    const record = this.source.read(f.SUPER_BLOCK);
    const root = record[f.SB_INODE_TABLE + f.X_MAP_ROOT];
    const height = record[f.SB_INODE_TABLE + f.X_MAP_HEIGHT];
    const blocks = u64(record, f.SB_INODE_TABLE + f.I_SIZE) / f.BLOCK_SIZE;
    if (height < 1 || height > f.MAP_MAX_HEIGHT || !Number.isInteger(blocks) || blocks < 1) {
      this.bad('inode table: impossible size or height');
      return;
    }
    this.inodeTableBlocks = [];
    this.walkMap(root, height, 0, 'inode table', [], (at, block, flags) => {
      if (at >= blocks) this.bad(`inode table: block ${at} lies behind its end`);
      else if (flags !== f.MAP_PRESENT) this.bad(`inode table: block ${at} has flags ${flags}`);
      else if (this.claim(block, 'inode table')) this.inodeTableBlocks[at] = block;
    });
    const directories: number[] = [];
    for (let table = 0; table < blocks; table++) {
      const block = this.inodeTableBlocks[table];
      if (block === undefined) {
        this.bad(`inode table: block ${table} is missing`);
        continue;
      }
      for (let slot = 0; slot < f.INODES_PER_BLOCK; slot++) {
        const index = table * f.INODES_PER_BLOCK + slot;
        const words = Uint32Array.from(
          this.source.read(block).subarray(slot * f.INODE_WORDS, (slot + 1) * f.INODE_WORDS),
        );
        if (words[f.X_STATE] === 0) continue;
        if (index === 0) this.bad('inode 0 is in use');
        else this.checkInode(index, words, directories);
      }
    }
    for (const index of directories) this.walkDirectory(index);
    this.checkLinks();
  }

  private inodeWords(index: number): Uint32Array {
    const block = this.inodeTableBlocks[index >>> 4];
    const at = (index & 15) * f.INODE_WORDS;
    return Uint32Array.from(this.source.read(block).subarray(at, at + f.INODE_WORDS));
  }

  private checkInode(index: number, words: Uint32Array, directories: number[]): void {
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
    };
    this.inodes.set(index, seen);
    const type = mode & f.S_IFMT;
    const size = u64(words, f.I_SIZE);
    if (size > f.MAX_FILE_SIZE) this.bad(`${name}: size ${size} is impossible`);
    let blocks = this.checkXattrs(index, words);
    if (type === f.S_IFREG) blocks += this.checkFile(index, name, words, size);
    else if (type === f.S_IFLNK) blocks += this.checkSymlink(name, words, size);
    else if (type === f.S_IFDIR) directories.push(index);
    else if (size !== 0) this.bad(`${name}: a device, pipe or socket of size ${size}`);
    if (type !== f.S_IFDIR && u64(words, f.I_BLOCKS) !== blocks) {
      this.bad(
        `${name}: says it has ${u64(words, f.I_BLOCKS)} blocks, has ${blocks}`,
        this.inodeFix(index, f.I_BLOCKS, blocks, true),
      );
    }
  }

  private checkFile(index: number, name: string, words: Uint32Array, size: number): number {
    const height = words[f.X_MAP_HEIGHT];
    if (height === 0) return 0;
    const noTree = [...this.inodeFix(index, f.X_MAP_HEIGHT, 0), ...this.inodeFix(index, f.X_MAP_ROOT, 0)];
    if (height > f.MAP_MAX_HEIGHT) {
      this.bad(`${name}: its tree is ${height} high`, noTree);
      return 0;
    }
    let blocks = 0;
    this.walkMap(words[f.X_MAP_ROOT], height, 0, name, noTree, (at, block, flags, clear) => {
      if ((flags & ~f.MAP_LEAF_BITS) !== 0 || (flags & f.MAP_PRESENT) === 0) {
        this.bad(`${name}: block ${at} has flags ${flags}`, clear);
        return;
      }
      if (at >= f.MAX_FILE_BLOCKS) this.bad(`${name}: block ${at} lies behind the largest possible size`);
      if (at * f.BLOCK_SIZE >= size && (flags & f.MAP_UNWRITTEN) === 0) {
        this.bad(`${name}: block ${at} lies behind its end and is not marked unwritten`, clear);
        return;
      }
      if (this.claimData(block, flags, `${name}, block ${at}`, clear)) blocks++;
    });
    return blocks;
  }

  private checkSymlink(name: string, words: Uint32Array, size: number): number {
    if (size === 0 || size > f.SYMLINK_MAX_BYTES) this.bad(`${name}: a symbolic link of ${size} bytes`);
    if (size <= f.SYMLINK_INLINE_BYTES) return 0;
    const dpp = u64(words, f.I_SYMLINK_DPP);
    if (dpp % f.BLOCK_SIZE !== 0) {
      this.bad(`${name}: its target lies at the odd place ${dpp}`);
      return 0;
    }
    return this.claim(dpp / f.BLOCK_SIZE, `${name}, target`) ? 1 : 0;
  }

  private walkMap(
    node: number,
    level: number,
    first: number,
    name: string,
    cut: readonly Patch[],
    visit: (at: number, block: number, flags: number, clear: readonly Patch[]) => void,
  ): void {
    if (!this.claim(node, `${name}, map node`, cut)) return;
    const words = Uint32Array.from(this.source.read(node));
    const span = f.MAP_ENTRIES ** (level - 1);
    for (let index = 0; index < f.MAP_ENTRIES; index++) {
      const tag = words[index * 2 + 1];
      const child = words[index * 2];
      const clear = [
        { block: node, word: index * 2, value: 0 },
        { block: node, word: index * 2 + 1, value: 0 },
      ];
      if (tag === 0) {
        if (child !== 0) this.bad(`${name}: map node ${node} has a half entry`, clear);
        continue;
      }
      if (level === 1) visit(first + index, child, tag, clear);
      else if (tag !== f.MAP_NODE + level - 1) this.bad(`${name}: map node ${node} has a bad entry`, clear);
      else this.walkMap(child, level - 1, first + index * span, name, clear, visit);
    }
  }

  private checkXattrs(index: number, words: Uint32Array): number {
    const name = `inode ${index}`;
    const count = words[f.X_XATTR_BLOCKS];
    const inline = words[f.X_XATTR_INLINE_BYTES];
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
    if (count > 0 && inline > 0) this.bad(`${name}: attributes inline and in blocks`);
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
      const part = bytesOf(Uint32Array.from(content));
      parts.push(part.slice(f.XB_DATA * 4, f.XB_DATA * 4 + used));
      block = content[f.XB_NEXT];
    }
    if (block !== 0) this.bad(`${name}: more attribute blocks than it says`, dropAll);
    this.checkXattrStream(name, Buffer.concat(parts), dropAll);
    return blocks;
  }

  /** Records: value length (2 bytes), type, name length, name, value. */
  private checkXattrStream(name: string, stream: Uint8Array, dropAll: readonly Patch[]): void {
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
      if (next > stream.length || nameLength === 0 || type < 1 || type > 4) {
        this.bad(`${name}: an attribute makes no sense`, dropAll);
        return;
      }
      const key = `${type}:${Buffer.from(stream.subarray(at + 4, at + 4 + nameLength)).toString('latin1')}`;
      if (names.has(key)) this.bad(`${name}: an attribute is there twice`, dropAll);
      names.add(key);
      at = next;
    }
  }

  // --- directories ---

  private walkDirectory(index: number): void {
    const words = this.inodeWords(index);
    const seen = this.inodes.get(index) as Seen;
    const name = `directory ${index}`;
    const names = new Set<string>();
    let blocks = 0;
    const visitLeaf = (leaf: number, first: number, span: number): void => {
      const content = Uint32Array.from(this.source.read(leaf));
      if (content[f.DL_MAGIC] !== f.DIR_LEAF_MAGIC || content[f.DL_OWNER] !== index) {
        this.bad(`${name}: block ${leaf} is not a leaf of it`);
        return;
      }
      const ties = new Set<number>();
      for (let at = f.DL_RECORDS; at < f.BLOCK_WORDS; ) {
        const shape = content[at + f.DR_SHAPE];
        const length = shape & 0xffff;
        if (length < f.DR_MIN_WORDS || at + length > f.BLOCK_WORDS) {
          this.bad(`${name}: leaf ${leaf} has a record of impossible length`);
          return;
        }
        if (content[at + f.DR_INO] !== 0)
          this.checkRecord(seen, name, leaf, content, at, first, span, names, ties);
        at += length;
      }
    };
    const visit = (block: number, tag: number, level: number, first: number, span: number): void => {
      if (!this.claim(block, name)) return;
      blocks++;
      const kind = tag & f.DIR_KIND_MASK;
      if (kind === f.DIR_LEAF) {
        visitLeaf(block, first, span);
        return;
      }
      if (kind !== f.DIR_NODE || level === f.DIR_MAX_LEVELS) {
        this.bad(`${name}: block ${block} is neither leaf nor node`);
        return;
      }
      const content = Uint32Array.from(this.source.read(block));
      const slotSpan = span / f.DIR_ENTRIES;
      for (let slot = 0; slot < f.DIR_ENTRIES; ) {
        const child = content[slot * 2];
        const childTag = content[slot * 2 + 1];
        const depth = (childTag & f.DIR_KIND_MASK) === f.DIR_LEAF ? childTag & f.DIR_DEPTH_MASK : f.DIR_SHIFT;
        const slots = depth > f.DIR_SHIFT ? 0 : f.DIR_ENTRIES >>> depth;
        if (slots === 0 || slot % slots !== 0) {
          this.bad(`${name}: node ${block} has a bad entry`);
          return;
        }
        for (let other = slot; other < slot + slots; other++) {
          if (content[other * 2] !== child || content[other * 2 + 1] !== childTag) {
            this.bad(`${name}: node ${block} has entries that contradict each other`);
            return;
          }
        }
        visit(child, childTag, level + 1, first + slot * slotSpan, slots * slotSpan);
        slot += slots;
      }
    };
    const root = words[f.I_DIR_ROOT];
    const rootTag = words[f.I_DIR_ROOT + 1];
    if (root !== 0 || rootTag !== 0) visit(root, rootTag, 0, 0, f.TWO_32);
    const own = blocks;
    blocks += words[f.X_XATTR_BLOCKS];
    if (u64(words, f.I_BLOCKS) !== blocks)
      this.bad(
        `${name}: says it has ${u64(words, f.I_BLOCKS)} blocks, has ${blocks}`,
        this.inodeFix(index, f.I_BLOCKS, blocks, true),
      );
    if (u64(words, f.I_SIZE) !== own * f.BLOCK_SIZE)
      this.bad(
        `${name}: size ${u64(words, f.I_SIZE)} with ${own} blocks`,
        this.inodeFix(index, f.I_SIZE, own * f.BLOCK_SIZE, true),
      );
    if (seen.entries !== seen.entriesStated) {
      this.bad(
        `${name}: says it has ${seen.entriesStated} names, has ${seen.entries}`,
        this.inodeFix(index, f.X_ENTRIES, seen.entries),
      );
    }
  }

  private checkRecord(
    directory: Seen,
    name: string,
    leaf: number,
    content: Uint32Array,
    at: number,
    first: number,
    span: number,
    names: Set<string>,
    ties: Set<number>,
  ): void {
    const shape = content[at + f.DR_SHAPE];
    const nameLength = (shape >>> 16) & 0xff;
    const bytes = bytesOf(content).subarray((at + f.DR_NAME) * 4, (at + f.DR_NAME) * 4 + nameLength);
    if (nameLength === 0 || f.DR_NAME + ((nameLength + 3) >>> 2) > (shape & 0xffff)) {
      this.bad(`${name}: leaf ${leaf} has a name that does not fit its record`, [
        { block: leaf, word: at + f.DR_INO, value: 0 },
      ]);
      return;
    }
    const drop = [{ block: leaf, word: at + f.DR_INO, value: 0 }];
    const entry = `${name}, name ${JSON.stringify(Buffer.from(bytes).toString())}`;
    const key = Buffer.from(bytes).toString('latin1');
    directory.entries++;
    if (names.has(key)) this.bad(`${entry}: is there twice`, drop);
    names.add(key);
    if (bytes.includes(0x2f) || bytes.includes(0) || key === '.' || key === '..')
      this.bad(`${entry}: is not allowed`, drop);
    const hash = content[at + f.DR_HASH];
    const seed = (this.superblock as Superblock).hashSeed;
    if (hash !== hashName(bytes, 0, nameLength, seed) >>> 0) this.bad(`${entry}: has the wrong hash`, drop);
    if (hash < first || hash >= first + span) this.bad(`${entry}: is in the wrong leaf`, drop);
    const tie = hash * 65536 + content[at + f.DR_TIE];
    if (ties.has(tie)) this.bad(`${entry}: shares its position with another name`, drop);
    ties.add(tie);
    const target = this.inodes.get(content[at + f.DR_INO]);
    if (target === undefined) {
      this.bad(`${entry}: points to inode ${content[at + f.DR_INO]}, which is free`, drop);
      return;
    }
    if (shape >>> 24 !== target.mode >>> 12) {
      const value = ((shape & 0xffffff) | ((target.mode >>> 12) << 24)) >>> 0;
      this.bad(`${entry}: is of another type than its inode`, [
        { block: leaf, word: at + f.DR_SHAPE, value },
      ]);
    }
    target.names++;
    if ((target.mode & f.S_IFMT) === f.S_IFDIR) {
      directory.subdirectories++;
      if (target.foundIn !== 0) this.bad(`${entry}: the directory has another name already`, drop);
      target.foundIn = directory.index;
    }
  }

  private checkLinks(): void {
    const rootIndex = (this.superblock as Superblock).rootInode;
    const root = this.inodes.get(rootIndex);
    if (root === undefined || (root.mode & f.S_IFMT) !== f.S_IFDIR) {
      this.bad('there is no root directory');
      return;
    }
    let orphans = 0;
    for (const seen of this.inodes.values()) {
      const isDirectory = (seen.mode & f.S_IFMT) === f.S_IFDIR;
      const name = `inode ${seen.index}`;
      if (seen.nlink === 0 && seen.names === 0) {
        orphans++;
        continue;
      }
      if (isDirectory) {
        const expected = 2 + seen.subdirectories;
        if (seen.nlink !== expected)
          this.bad(
            `${name}: has ${seen.nlink} links, should have ${expected}`,
            this.inodeFix(seen.index, f.I_NLINK, expected),
          );
        if (seen.index === rootIndex) {
          if (seen.names !== 0) this.bad('the root directory has a name');
          if (seen.parent !== rootIndex)
            this.bad(
              'the root directory has a parent',
              this.inodeFix(rootIndex, f.I_PARENT, rootIndex, true),
            );
        } else if (seen.names === 0) {
          this.bad(`${name}: a directory without a name`);
        } else if (seen.parent !== seen.foundIn) {
          this.bad(
            `${name}: says it is in directory ${seen.parent}, is in ${seen.foundIn}`,
            this.inodeFix(seen.index, f.I_PARENT, seen.foundIn, true),
          );
        } else if (!this.reachesRoot(seen, rootIndex)) {
          this.bad(`${name}: a directory inside itself`);
        }
      } else if (seen.nlink !== seen.names) {
        // A file without any name is left alone: its contents may be wanted.
        const fixes = seen.names > 0 ? this.inodeFix(seen.index, f.I_NLINK, seen.names) : [];
        this.bad(`${name}: has ${seen.nlink} links, should have ${seen.names}`, fixes);
      }
    }
    if (orphans > 0) this.notes.push(`${orphans} inodes without a name are to be removed by the next mount`);
  }

  private reachesRoot(seen: Seen, root: number): boolean {
    let at: Seen | undefined = seen;
    for (let steps = 0; steps <= this.inodes.size && at !== undefined; steps++) {
      if (at.index === root) return true;
      at = this.inodes.get(at.foundIn);
    }
    return false;
  }
}

/** What makes the static part of a superblock that of `words`. */
function patchesOf(block: number, words: Uint32Array): Patch[] {
  return Array.from({ length: f.SB_CHECKSUM + 1 }, (_, word) => ({ block, word, value: words[word] }));
}

function u64(words: Uint32Array, at: number): number {
  return words[at] + words[at + 1] * f.TWO_32;
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
