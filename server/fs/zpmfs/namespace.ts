// SPDX-License-Identifier: BSD-3-Clause

import { FLAG, zufs_ioc_dentry, zufs_ioc_lookup, zufs_ioc_new_inode } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import { FS_PROJINHERIT } from './attributes.ts';
import type { Core } from './core.ts';
import {
  EDQUOT,
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
  I_BLOCKS,
  I_CTIME,
  I_DIR_ROOT,
  I_FLAGS_MODE,
  I_GENERATION,
  I_GID,
  I_INO,
  I_NLINK,
  I_PARENT,
  I_SIZE,
  I_SYMLINK_DPP,
  I_UID,
  I_XATTR,
  INODE_IN_USE,
  isValidMode,
  LINK_MAX,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SYMLINK_INLINE_BYTES,
  SYMLINK_MAX_BYTES,
  X_BIRTH,
  X_ENTRIES,
  X_EXTENT_HINT,
  X_PROJECT,
  X_STATE,
  X_XFLAGS,
} from './format.ts';
import { CHANGES, InodeInHand, READS } from './in-hand.ts';
import { slotWord } from './inodes.ts';
import { Links } from './links.ts';

const DOT = 46;
const LOOKUP_STR = zufs_ioc_lookup.str;
/** What the kernel shares of an inode. */
const ZUS_INODE_BYTES = 128;

/** Look-up, and what makes and removes names: one transaction each, durable when it returns. */
export class Namespace {
  private readonly core: Core;
  private readonly links: Links;
  private readonly inode: InodeInHand;
  private readonly directory: InodeInHand;

  constructor(core: Core) {
    this.core = core;
    this.links = new Links(core);
    this.inode = new InodeInHand(core);
    this.directory = new InodeInHand(core);
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
    const index = this.takeInode(op, template, db, dw, symlinkBlocks);
    if (index < 0) return index;
    let error = isTmpfile ? 0 : directory.makeRoom(db, dw, dirIndex, op.u8, start, length);
    let target = 0;
    if (error === 0 && symlinkBlocks > 0) {
      target = allocator.reserve(1, false) ? allocator.takeMetadata() : -ENOSPC;
      if (target < 0) error = target;
    }
    if (error < 0) {
      inodes.release(index);
      this.giveInode(op, template, db, dw, symlinkBlocks);
      return error;
    }
    const ib = inodes.slotBlock(index);
    const iw = slotWord(index);
    const generation = (pmem.load(ib, iw + I_GENERATION) + 1) >>> 0;
    core.readClock();
    journal.begin();
    const place = journal.stageInode(ib, iw, op, template * 4, ZUS_INODE_BYTES);
    journal.put(place, I_NLINK, isTmpfile ? 0 : isDirectory ? 2 : 1);
    if (!isSymlink) journal.put64(place, I_SIZE, 0);
    for (let word = 4; word < 8; word++) journal.put(place, word, 0);
    journal.put64(place, I_BLOCKS, symlinkBlocks);
    journal.put64(place, I_INO, index);
    journal.put64(place, I_XATTR, 0);
    journal.put64(place, I_GENERATION, generation);
    if (isDirectory) {
      journal.put64(place, I_DIR_ROOT, 0);
      journal.put64(place, I_PARENT, dirIndex);
    }
    if (target > 0) {
      pmem.copyIn(target, 0, op.windowAddress + core.windowOffset(op), size);
      pmem.zero(target, size, BLOCK_SIZE - size);
      journal.put64(place, I_SYMLINK_DPP, target * BLOCK_SIZE);
    }
    journal.put(place, X_BIRTH, op.i32[template + I_CTIME]);
    journal.put(place, X_BIRTH + 1, op.i32[template + I_CTIME + 1]);
    this.stageInherited(place, db, dw, mode);
    journal.put(place, X_STATE, INODE_IN_USE);
    if (!isTmpfile) {
      directory.insert(op.u8, start, length, index, mode >>> 12);
      journal.set(db, dw + X_ENTRIES, journal.get(db, dw + X_ENTRIES) + 1);
      if (isDirectory) journal.set(db, dw + I_NLINK, journal.get(db, dw + I_NLINK) + 1);
      core.stampModified(db, dw);
    }
    journal.commit();
    core.setDpp(op, zufs_ioc_new_inode._zi, ib, iw);
    core.setCookie(op, zufs_ioc_new_inode.zus_ii, index);
    return 0;
  }

  /** A free inode, counted for who is to own it, and `blocks` for its target. Returns its index or -errno. */
  private takeInode(op: Operation, template: number, db: number, dw: number, blocks: number): number {
    const { inodes, quota } = this.core;
    const uid = op.i32[template + I_UID];
    const gid = op.i32[template + I_GID];
    if (quota !== null && quota.takeInode(uid, gid, this.links.projectIn(db, dw), blocks) < 0) return -EDQUOT;
    const index = inodes.allocate();
    if (index < 0) this.giveInode(op, template, db, dw, blocks);
    return index;
  }

  /** It is not made after all: it counts for nobody. */
  private giveInode(op: Operation, template: number, db: number, dw: number, blocks: number): void {
    const { quota } = this.core;
    const uid = op.i32[template + I_UID];
    quota?.giveInode(uid, op.i32[template + I_GID], this.links.projectIn(db, dw), blocks);
  }

  /** What a new inode has from its directory: with FS_PROJINHERIT the project, no dump, the hint for extents. */
  private stageInherited(place: number, db: number, dw: number, mode: number): void {
    const { journal, pmem } = this.core;
    const type = mode & S_IFMT;
    const flags = pmem.load(db, dw + X_XFLAGS);
    journal.put(place, X_PROJECT, this.links.projectIn(db, dw));
    if (type !== S_IFDIR && type !== S_IFREG) return;
    journal.putBits(place, I_FLAGS_MODE, pmem.load(db, dw + I_FLAGS_MODE) & FLAG.ZUFS_S_NODUMP);
    journal.put(place, X_XFLAGS, type === S_IFDIR ? flags & FS_PROJINHERIT : 0);
    journal.put(place, X_EXTENT_HINT, pmem.load(db, dw + X_EXTENT_HINT) | 0);
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
    if (this.links.staysOut(ib, iw, db, dw)) return -EXDEV;
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
    core.stampModified(db, dw);
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
    const cleared = this.links.take(db, dw, directory.leaf, directory.record, directory.previous);
    if (cleared < 0) {
      journal.abort();
      return cleared;
    }
    this.links.drop(ib, iw, db, dw, isDirectory);
    core.stampModified(db, dw);
    core.stampTime(ib, iw + I_CTIME);
    journal.commit();
    if (cleared === 1) directory.releaseOld(db, dw);
    core.setU64(op, zufs_ioc_dentry.ino, index);
    return 0;
  }
}
