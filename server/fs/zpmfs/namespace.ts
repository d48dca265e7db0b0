// SPDX-License-Identifier: BSD-3-Clause

import {
  FLAG,
  zufs_dir_entry,
  zufs_ioc_dentry,
  zufs_ioc_hdr,
  zufs_ioc_lookup,
  zufs_ioc_new_inode,
  zufs_ioc_readdir,
  zufs_ioc_rename,
} from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import { FS_PROJINHERIT } from './attributes.ts';
import type { Core } from './core.ts';
import {
  EEXIST,
  EINVAL,
  EMLINK,
  ENAMETOOLONG,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
  EUCLEAN,
  EXDEV,
} from './errno.ts';
import {
  BLOCK_SIZE,
  DR_HASH,
  DR_INO,
  DR_NAME,
  DR_SHAPE,
  DR_TIE,
  I_ATIME,
  I_BLOCKS,
  I_CTIME,
  I_DIR_ROOT,
  I_FLAGS_MODE,
  I_GENERATION,
  I_INO,
  I_MTIME,
  I_NLINK,
  I_PARENT,
  I_SIZE,
  I_SYMLINK_DPP,
  I_XATTR,
  INODE_IN_USE,
  isValidMode,
  LINK_MAX,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SYMLINK_INLINE_BYTES,
  SYMLINK_MAX_BYTES,
  TWO_32,
  X_BIRTH,
  X_ENTRIES,
  X_EXTENT_HINT,
  X_PROJECT,
  X_STATE,
  X_XFLAGS,
} from './format.ts';
import { CHANGES, InodeInHand, READS } from './in-hand.ts';
import { slotWord } from './inodes.ts';

const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const RENAME_WHITEOUT = 4;
const FIRST_POSITION = 2 ** 21;
const POSITIONS_PER_HASH = 2 ** 20;
const DT_DIR = 4;
const DT_CHR = 2;
const DOT = 46;
const LOOKUP_STR = zufs_ioc_lookup.str;
/** What the kernel shares of an inode. */
const ZUS_INODE_WORDS = 32;
const NO_WORDS = new Int32Array(0);

/** Operations on names: everything here is one transaction each, durable when it returns. */
export class Namespace {
  private readonly core: Core;
  private readonly inode: InodeInHand;
  private readonly directory: InodeInHand;
  /** What `rename` finds in the way, and where it moves to. */
  private readonly target: InodeInHand;
  private readonly newDirectory: InodeInHand;

  constructor(core: Core) {
    this.core = core;
    this.inode = new InodeInHand(core);
    this.directory = new InodeInHand(core);
    this.target = new InodeInHand(core);
    this.newDirectory = new InodeInHand(core);
  }

  // --- lookup ---

  lookup(op: Operation): number {
    const core = this.core;
    const opened = this.inode.open(op, zufs_ioc_lookup.dir_ii, READS);
    if (opened < 0) return opened;
    const { index, ib, iw } = this.inode;
    const start = op.base + LOOKUP_STR + 1;
    const length = op.u8[op.base + LOOKUP_STR];
    if (length === 0) return -ENOENT;
    if (length === 1 && op.u8[start] === DOT) return this.found(op, index);
    if ((core.mode(ib, iw) & S_IFMT) !== S_IFDIR) return -ENOTDIR;
    if (length === 2 && op.u8[start] === DOT && op.u8[start + 1] === DOT) {
      return this.found(op, core.pmem.load(ib, iw + I_PARENT));
    }
    const found = core.directory.find(ib, iw, index, op.u8, start, length);
    if (found <= 0) return found === 0 ? -ENOENT : found;
    return this.found(op, core.directory.ino);
  }

  private found(op: Operation, index: number): number {
    const core = this.core;
    const ib = core.inodes.blockOf(index);
    // A name whose inode is not there: the media are damaged.
    if (ib < 0) return -EUCLEAN;
    core.setDpp(op, zufs_ioc_lookup._zi, ib, slotWord(index));
    core.setCookie(op, zufs_ioc_lookup.zus_ii, index);
    return 0;
  }

  // --- create ---

  newInode(op: Operation): number {
    const core = this.core;
    const opened = this.directory.open(op, zufs_ioc_new_inode.dir_ii, CHANGES);
    if (opened < 0) return opened;
    const { index: dirIndex, ib: db, iw: dw } = this.directory;
    const { journal, directory, inodes, allocator, pmem } = core;
    const template = (op.base + zufs_ioc_new_inode.zi) >>> 2;
    const mode = op.u32[template] >>> 16;
    const size = core.u64(op, zufs_ioc_new_inode.zi_i_size);
    const isTmpfile = (core.u32(op, zufs_ioc_new_inode.flags) & FLAG.ZI_TMPFILE) !== 0;
    const isDirectory = (mode & S_IFMT) === S_IFDIR;
    const isSymlink = (mode & S_IFMT) === S_IFLNK;
    if (!isValidMode(mode) || (isTmpfile && isDirectory)) return -EINVAL;
    const start = op.base + zufs_ioc_new_inode.str + 1;
    const length = op.u8[start - 1];
    let symlinkBlocks = 0;
    if (isSymlink) {
      if (size === 0 || size > SYMLINK_MAX_BYTES) return size === 0 ? -EINVAL : -ENAMETOOLONG;
      if (size > SYMLINK_INLINE_BYTES) {
        if (size > core.windowLength(op)) return -EINVAL;
        symlinkBlocks = 1;
      }
    }
    if (!isTmpfile) {
      const error = this.mayAdd(op, dirIndex, db, dw, start, length, isDirectory);
      if (error < 0) return error;
    }
    if (symlinkBlocks > 0 && !allocator.reserve(symlinkBlocks, false)) return -ENOSPC;
    const index = inodes.allocate();
    if (index < 0) {
      allocator.unreserve(symlinkBlocks);
      return index;
    }
    if (!isTmpfile) {
      const error = directory.makeRoom(db, dw, dirIndex, op.u8, start, length);
      if (error < 0) {
        allocator.unreserve(symlinkBlocks);
        inodes.release(index);
        return error;
      }
    }
    const ib = inodes.slotBlock(index);
    const iw = slotWord(index);
    const generation = (pmem.load(ib, iw + I_GENERATION) + 1) >>> 0;
    core.readClock();
    journal.begin();
    journal.setInode(ib, iw, op.i32, template, ZUS_INODE_WORDS);
    journal.set(ib, iw + I_NLINK, isTmpfile ? 0 : isDirectory ? 2 : 1);
    if (!isSymlink) journal.set64(ib, iw + I_SIZE, 0);
    for (let word = 4; word < 8; word++) journal.set(ib, iw + word, 0);
    journal.set64(ib, iw + I_BLOCKS, symlinkBlocks);
    journal.set64(ib, iw + I_INO, index);
    journal.set64(ib, iw + I_XATTR, 0);
    journal.set64(ib, iw + I_GENERATION, generation);
    if (isDirectory) {
      journal.set64(ib, iw + I_DIR_ROOT, 0);
      journal.set64(ib, iw + I_PARENT, dirIndex);
    }
    if (symlinkBlocks > 0) {
      const block = allocator.takeMetadata();
      pmem.copyIn(block, 0, op.windowAddress + core.windowOffset(op), size);
      pmem.zero(block, size, BLOCK_SIZE - size);
      journal.set64(ib, iw + I_SYMLINK_DPP, block * BLOCK_SIZE);
    }
    journal.set(ib, iw + X_BIRTH, op.i32[template + I_CTIME]);
    journal.set(ib, iw + X_BIRTH + 1, op.i32[template + I_CTIME + 1]);
    this.stageInherited(ib, iw, db, dw, mode);
    journal.set(ib, iw + X_STATE, INODE_IN_USE);
    if (!isTmpfile) {
      directory.insert(op.u8, start, length, index, mode >>> 12);
      journal.set(db, dw + X_ENTRIES, journal.get(db, dw + X_ENTRIES) + 1);
      if (isDirectory) journal.set(db, dw + I_NLINK, journal.get(db, dw + I_NLINK) + 1);
      core.stampTime(db, dw + I_MTIME);
      core.stampTime(db, dw + I_CTIME);
    }
    journal.commit();
    core.setDpp(op, zufs_ioc_new_inode._zi, ib, iw);
    core.setCookie(op, zufs_ioc_new_inode.zus_ii, index);
    return 0;
  }

  /** What a new inode has from its directory: with FS_PROJINHERIT the project, no dump, the hint for extents. */
  private stageInherited(ib: number, iw: number, db: number, dw: number, mode: number): void {
    const { journal, pmem } = this.core;
    const type = mode & S_IFMT;
    const flags = pmem.load(db, dw + X_XFLAGS);
    if (type !== S_IFDIR && type !== S_IFREG) return;
    const noDump = pmem.load(db, dw + I_FLAGS_MODE) & FLAG.ZUFS_S_NODUMP;
    journal.set(ib, iw + I_FLAGS_MODE, journal.get(ib, iw + I_FLAGS_MODE) | noDump);
    journal.set(ib, iw + X_XFLAGS, type === S_IFDIR ? flags & FS_PROJINHERIT : 0);
    if ((flags & FS_PROJINHERIT) !== 0) journal.set(ib, iw + X_PROJECT, pmem.load(db, dw + X_PROJECT) | 0);
    journal.set(ib, iw + X_EXTENT_HINT, pmem.load(db, dw + X_EXTENT_HINT) | 0);
  }

  /** A directory whose project is inherited takes no inode of another one. */
  private staysOut(ib: number, iw: number, db: number, dw: number): boolean {
    const { pmem } = this.core;
    if ((pmem.load(db, dw + X_XFLAGS) & FS_PROJINHERIT) === 0) return false;
    return pmem.load(ib, iw + X_PROJECT) !== pmem.load(db, dw + X_PROJECT);
  }

  /** Whether a name may be added to a directory: it is one, has links left for a subdirectory, and lacks the name. */
  private mayAdd(
    op: Operation,
    dirIndex: number,
    db: number,
    dw: number,
    start: number,
    length: number,
    isDirectory: boolean,
  ): number {
    const core = this.core;
    if ((core.mode(db, dw) & S_IFMT) !== S_IFDIR) return -ENOTDIR;
    if (length === 0) return -EINVAL;
    if (core.pmem.load(db, dw + I_NLINK) === 0) return -ENOENT;
    if (isDirectory && core.pmem.load(db, dw + I_NLINK) >= LINK_MAX) return -EMLINK;
    const found = core.directory.findRoom(db, dw, dirIndex, op.u8, start, length);
    return found > 0 ? -EEXIST : found;
  }

  /** The inode and the directory of ADD_DENTRY and REMOVE_DENTRY. */
  private openDentry(op: Operation): number {
    const opened = this.inode.open(op, zufs_ioc_dentry.zus_ii, CHANGES);
    return opened < 0 ? opened : this.directory.openDirectory(op, zufs_ioc_dentry.zus_dir_ii, CHANGES);
  }

  addDentry(op: Operation): number {
    const core = this.core;
    const opened = this.openDentry(op);
    if (opened < 0) return opened;
    const { journal, directory } = core;
    const { index, ib, iw } = this.inode;
    const { index: dirIndex, ib: db, iw: dw } = this.directory;
    const mode = core.mode(ib, iw);
    if ((mode & S_IFMT) === S_IFDIR) return -EINVAL;
    if (core.pmem.load(ib, iw + I_NLINK) >= LINK_MAX) return -EMLINK;
    if (this.staysOut(ib, iw, db, dw)) return -EXDEV;
    const start = op.base + zufs_ioc_dentry.str + 1;
    const length = op.u8[start - 1];
    let error = this.mayAdd(op, dirIndex, db, dw, start, length, false);
    if (error < 0) return error;
    error = directory.makeRoom(db, dw, dirIndex, op.u8, start, length);
    if (error < 0) return error;
    core.readClock();
    journal.begin();
    directory.insert(op.u8, start, length, index, mode >>> 12);
    journal.set(db, dw + X_ENTRIES, journal.get(db, dw + X_ENTRIES) + 1);
    core.stampTime(db, dw + I_MTIME);
    core.stampTime(db, dw + I_CTIME);
    journal.set(ib, iw + I_NLINK, journal.get(ib, iw + I_NLINK) + 1);
    core.stampTime(ib, iw + I_CTIME);
    journal.commit();
    core.setU64(op, zufs_ioc_dentry.ino, index);
    return 0;
  }

  // --- remove ---

  removeDentry(op: Operation): number {
    const core = this.core;
    const opened = this.openDentry(op);
    if (opened < 0) return opened;
    const { journal, directory } = core;
    const { index, ib, iw, isDirectory } = this.inode;
    const { index: dirIndex, ib: db, iw: dw } = this.directory;
    const start = op.base + zufs_ioc_dentry.str + 1;
    const length = op.u8[start - 1];
    const found = directory.find(db, dw, dirIndex, op.u8, start, length);
    if (found < 0) return found;
    if (found === 0 || directory.ino !== index) return -ENOENT;
    if (isDirectory && core.pmem.load(ib, iw + X_ENTRIES) !== 0) return -ENOTEMPTY;
    core.readClock();
    journal.begin();
    const rootBlock = journal.get(db, dw + I_DIR_ROOT);
    const rootTag = journal.get(db, dw + I_DIR_ROOT + 1);
    const cleared = this.takeName(db, dw, directory.leaf, directory.record, directory.previous);
    if (cleared < 0) {
      journal.abort();
      return cleared;
    }
    this.dropLink(ib, iw, db, dw, isDirectory);
    core.stampTime(db, dw + I_MTIME);
    core.stampTime(db, dw + I_CTIME);
    core.stampTime(ib, iw + I_CTIME);
    journal.commit();
    if (cleared === 1) directory.releaseTree(rootBlock, rootTag, 0);
    core.setU64(op, zufs_ioc_dentry.ino, index);
    return 0;
  }

  /**
   * Stage the removal of a record; `previous` is as for `Directory.remove`. Returns 1 when it was the last one of a tall tree,
   * which then goes as a whole, 0 when not, or -EUCLEAN.
   */
  private takeName(db: number, dw: number, leaf: number, record: number, previous: number): number {
    const { journal, directory } = this.core;
    const entries = journal.get(db, dw + X_ENTRIES);
    if (entries === 0) return -EUCLEAN;
    journal.set(db, dw + X_ENTRIES, entries - 1);
    if (entries === 1 && directory.hasNodes(db, dw)) {
      directory.clear(db, dw);
      return 1;
    }
    return directory.remove(leaf, record, previous);
  }

  /** Stage one link less; a directory that loses its name loses all, and its parent the one of `..`. */
  private dropLink(ib: number, iw: number, db: number, dw: number, isDirectory: boolean): void {
    const journal = this.core.journal;
    const links = journal.get(ib, iw + I_NLINK);
    if (isDirectory) {
      journal.set(ib, iw + I_NLINK, 0);
      journal.set(db, dw + I_NLINK, Math.max(2, journal.get(db, dw + I_NLINK) - 1));
    } else {
      journal.set(ib, iw + I_NLINK, Math.max(0, links - 1));
    }
  }

  // --- rename ---

  /** The directories and inodes of RENAME. */
  private openRename(op: Operation, hasTarget: boolean): number {
    let opened = this.inode.open(op, zufs_ioc_rename.old_zus_ii, CHANGES);
    if (opened === 0) opened = this.directory.openDirectory(op, zufs_ioc_rename.old_dir_ii, CHANGES);
    if (opened === 0) opened = this.newDirectory.openDirectory(op, zufs_ioc_rename.new_dir_ii, CHANGES);
    if (opened === 0 && hasTarget) opened = this.target.open(op, zufs_ioc_rename.new_zus_ii, CHANGES);
    return opened;
  }

  rename(op: Operation): number {
    const core = this.core;
    const { journal, directory, inodes } = core;
    const flags = core.u32(op, zufs_ioc_rename.flags);
    if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) !== 0) return -EINVAL;
    const exchange = (flags & RENAME_EXCHANGE) !== 0;
    const whiteout = (flags & RENAME_WHITEOUT) !== 0;
    if (exchange && (whiteout || (flags & RENAME_NOREPLACE) !== 0)) return -EINVAL;

    const hasTarget = core.u64(op, zufs_ioc_rename.new_zus_ii) !== 0;
    const opened = this.openRename(op, hasTarget);
    if (opened < 0) return opened;
    if (exchange && !hasTarget) return -ENOENT;
    const { index: oldDir, ib: ob, iw: ow } = this.directory;
    const { index: newDir, ib: nb, iw: nw } = this.newDirectory;
    const { index, ib, iw, isDirectory } = this.inode;
    const { index: target, ib: tb, iw: tw } = this.target;
    const targetIsDirectory = hasTarget && this.target.isDirectory;
    const newStart = op.base + zufs_ioc_rename.new_d_str + 1;
    const newLength = op.u8[newStart - 1];
    const oldStart = op.base + zufs_ioc_rename.old_d_str + 1;
    const oldLength = op.u8[oldStart - 1];
    if (newLength === 0 || oldLength === 0) return -EINVAL;

    let found = directory.findRoom(nb, nw, newDir, op.u8, newStart, newLength);
    const newLeaf = directory.leaf;
    const newRecord = directory.record;
    if (found < 0) return found;
    if ((found === 1) !== hasTarget || (hasTarget && directory.ino !== target))
      return found === 1 ? -EEXIST : -ENOENT;
    if (hasTarget && (flags & RENAME_NOREPLACE) !== 0) return -EEXIST;
    if (hasTarget && !exchange && targetIsDirectory && core.pmem.load(tb, tw + X_ENTRIES) !== 0)
      return -ENOTEMPTY;
    if (oldDir !== newDir) {
      if (this.staysOut(ib, iw, nb, nw) || (exchange && this.staysOut(tb, tw, ob, ow))) return -EXDEV;
      const gainsDirectory = isDirectory && !targetIsDirectory;
      const losesDirectory = exchange && targetIsDirectory && !isDirectory;
      if (gainsDirectory && core.pmem.load(nb, nw + I_NLINK) >= LINK_MAX) return -EMLINK;
      if (losesDirectory && core.pmem.load(ob, ow + I_NLINK) >= LINK_MAX) return -EMLINK;
    }
    let whiteoutIndex = 0;
    if (whiteout) {
      whiteoutIndex = inodes.allocate();
      if (whiteoutIndex < 0) return whiteoutIndex;
    }
    if (!hasTarget) {
      const error = directory.makeRoom(nb, nw, newDir, op.u8, newStart, newLength);
      if (error < 0) {
        if (whiteout) inodes.release(whiteoutIndex);
        return error;
      }
    }
    // Looked for now, because making room may have moved it.
    found = directory.find(ob, ow, oldDir, op.u8, oldStart, oldLength);
    if (found <= 0 || directory.ino !== index) {
      if (whiteout) inodes.release(whiteoutIndex);
      return found < 0 ? found : -ENOENT;
    }
    const oldLeaf = directory.leaf;
    const oldRecord = directory.record;

    core.setClock(core.u32(op, zufs_ioc_rename.time), core.u32(op, zufs_ioc_rename.time + 4));
    journal.begin();
    const rootBlock = journal.get(ob, ow + I_DIR_ROOT);
    const rootTag = journal.get(ob, ow + I_DIR_ROOT + 1);
    if (hasTarget) {
      directory.replace(newLeaf, newRecord, index, core.mode(ib, iw) >>> 12);
    } else {
      directory.insert(op.u8, newStart, newLength, index, core.mode(ib, iw) >>> 12);
      journal.set(nb, nw + X_ENTRIES, journal.get(nb, nw + X_ENTRIES) + 1);
    }
    let cleared = 0;
    if (exchange) {
      directory.replace(oldLeaf, oldRecord, target, core.mode(tb, tw) >>> 12);
    } else if (whiteout) {
      directory.replace(oldLeaf, oldRecord, whiteoutIndex, DT_CHR);
      this.stageWhiteout(whiteoutIndex);
    } else {
      cleared = this.takeName(ob, ow, oldLeaf, oldRecord, -1);
      if (cleared < 0) {
        journal.abort();
        return cleared;
      }
    }
    // Links: what was replaced loses one; directories that change parents move the link of their `..`.
    if (hasTarget && !exchange) this.dropLink(tb, tw, nb, nw, targetIsDirectory);
    if (oldDir !== newDir) {
      if (isDirectory) this.moveParent(ib, iw, ob, ow, nb, nw, newDir);
      if (exchange && targetIsDirectory) this.moveParent(tb, tw, nb, nw, ob, ow, oldDir);
    }
    core.stampTime(ob, ow + I_MTIME);
    core.stampTime(ob, ow + I_CTIME);
    core.stampTime(nb, nw + I_MTIME);
    core.stampTime(nb, nw + I_CTIME);
    core.stampTime(ib, iw + I_CTIME);
    if (hasTarget) core.stampTime(tb, tw + I_CTIME);
    journal.commit();
    if (cleared === 1) directory.releaseTree(rootBlock, rootTag, 0);
    return 0;
  }

  private moveParent(
    ib: number,
    iw: number,
    fromBlock: number,
    fromWord: number,
    toBlock: number,
    toWord: number,
    to: number,
  ): void {
    const journal = this.core.journal;
    journal.set64(ib, iw + I_PARENT, to);
    journal.set(fromBlock, fromWord + I_NLINK, Math.max(2, journal.get(fromBlock, fromWord + I_NLINK) - 1));
    journal.set(toBlock, toWord + I_NLINK, journal.get(toBlock, toWord + I_NLINK) + 1);
  }

  /** What overlayfs leaves behind a renamed file: a character device 0:0. */
  private stageWhiteout(index: number): void {
    const core = this.core;
    const journal = core.journal;
    const ib = core.inodes.slotBlock(index);
    const iw = slotWord(index);
    const generation = (core.pmem.load(ib, iw + I_GENERATION) + 1) >>> 0;
    journal.setInode(ib, iw, NO_WORDS, 0, 0);
    journal.set(ib, iw + I_FLAGS_MODE, S_IFCHR * 65536);
    journal.set(ib, iw + I_NLINK, 1);
    journal.set(ib, iw + I_INO, index);
    journal.set(ib, iw + I_GENERATION, generation);
    core.stampTime(ib, iw + I_MTIME);
    core.stampTime(ib, iw + I_CTIME);
    core.stampTime(ib, iw + I_ATIME);
    core.stampTime(ib, iw + X_BIRTH);
    journal.set(ib, iw + X_STATE, INODE_IN_USE);
  }

  // --- readdir ---

  readdir(op: Operation): number {
    const core = this.core;
    const opened = this.inode.open(op, zufs_ioc_readdir.dir_ii, READS);
    if (opened < 0) return opened;
    const { directory, pmem } = core;
    const { index, ib, iw } = this.inode;
    if ((core.mode(ib, iw) & S_IFMT) !== S_IFDIR) return -ENOTDIR;
    const from = core.windowOffset(op);
    const end = from + core.windowLength(op);
    let at = from;
    let position = core.u64(op, zufs_ioc_readdir.pos);
    let more = 0;
    if (position === 0) {
      if (at + 24 > end) more = 1;
      else {
        at = this.putEntry(op, at, index, DT_DIR, 1, 0, op.u8, 0, 1);
        op.window[at - 24 + zufs_dir_entry.zstr_name] = DOT;
        position = 1;
      }
    }
    if (more === 0 && position === 1) {
      if (at + 24 > end) more = 1;
      else {
        at = this.putEntry(op, at, pmem.load(ib, iw + I_PARENT), DT_DIR, 2, 0, op.u8, 0, 2);
        op.window[at - 24 + zufs_dir_entry.zstr_name] = DOT;
        op.window[at - 24 + zufs_dir_entry.zstr_name + 1] = DOT;
        position = 2;
      }
    }
    if (position < FIRST_POSITION && position >= 2) position = FIRST_POSITION;
    let hash = Math.floor((position - FIRST_POSITION) / POSITIONS_PER_HASH);
    let tie = (position - FIRST_POSITION) % POSITIONS_PER_HASH;
    while (more === 0 && hash < TWO_32) {
      const count = directory.collect(ib, iw, index, hash | 0, tie);
      if (count < 0) return count;
      const leaf = directory.leafRead;
      for (let entry = 0; entry < count; entry++) {
        const record = directory.recordOf(entry);
        const shape = pmem.load(leaf, record + DR_SHAPE);
        const length = (shape >>> 16) & 0xff;
        if (at + ((zufs_dir_entry.zstr_name + length + 7) & ~7) > end) {
          more = 1;
          break;
        }
        position =
          FIRST_POSITION +
          pmem.load(leaf, record + DR_HASH) * POSITIONS_PER_HASH +
          pmem.load(leaf, record + DR_TIE) +
          1;
        const name = leaf * BLOCK_SIZE + (record + DR_NAME) * 4;
        at = this.putEntry(
          op,
          at,
          pmem.load(leaf, record + DR_INO),
          shape >>> 24,
          (position % TWO_32) | 0,
          Math.floor(position / TWO_32),
          pmem.u8,
          name,
          length,
        );
      }
      hash = directory.nextHash;
      tie = 0;
    }
    core.setU64(op, zufs_ioc_readdir.pos, position);
    op.u8[op.base + zufs_ioc_readdir.more] = more;
    core.setU32(op, zufs_ioc_hdr.len, at - from);
    // Not even one entry fits: the kernel has to bring a larger buffer.
    return more === 1 && at === from ? -EINVAL : 0;
  }

  private putEntry(
    op: Operation,
    at: number,
    ino: number,
    type: number,
    low: number,
    high: number,
    name: Uint8Array,
    nameAt: number,
    length: number,
  ): number {
    const window = op.window;
    const bytes = (zufs_dir_entry.zstr_name + length + 7) & ~7;
    window[at] = ino;
    window[at + 1] = ino >>> 8;
    window[at + 2] = ino >>> 16;
    window[at + 3] = ino >>> 24;
    window[at + 4] = 0;
    window[at + 5] = 0;
    window[at + 6] = 0;
    window[at + 7] = 0;
    window[at + 8] = type;
    window[at + 9] = low;
    window[at + 10] = low >>> 8;
    window[at + 11] = low >>> 16;
    window[at + 12] = low >>> 24;
    window[at + 13] = high;
    window[at + 14] = high >>> 8;
    window[at + 15] = high >>> 16;
    window[at + 16] = length;
    for (let index = 0; index < length; index++) window[at + 17 + index] = name[nameAt + index];
    for (let index = 17 + length; index < bytes; index++) window[at + index] = 0;
    return at + bytes;
  }
}
