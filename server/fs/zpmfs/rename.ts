// SPDX-License-Identifier: BSD-3-Clause

import { zufs_ioc_rename } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { EDQUOT, EEXIST, EINVAL, EMLINK, ENOENT, ENOTEMPTY, EXDEV } from './errno.ts';
import {
  I_ATIME,
  I_CTIME,
  I_FLAGS_MODE,
  I_GENERATION,
  I_INO,
  I_NLINK,
  I_PARENT,
  INODE_IN_USE,
  LINK_MAX,
  S_IFCHR,
  X_BIRTH,
  X_ENTRIES,
  X_PROJECT,
  X_STATE,
} from './format.ts';
import { CHANGES, InodeInHand } from './in-hand.ts';
import { slotWord } from './inodes.ts';
import { Links } from './links.ts';

const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const RENAME_WHITEOUT = 4;
const DT_CHR = 2;

/** RENAME in all its kinds: one transaction, durable when it returns. */
export class Rename {
  private readonly core: Core;
  private readonly links: Links;
  private readonly inode: InodeInHand;
  private readonly directory: InodeInHand;
  /** What is in the way, and where it moves to. */
  private readonly target: InodeInHand;
  private readonly newDirectory: InodeInHand;

  constructor(core: Core) {
    this.core = core;
    this.links = new Links(core);
    this.inode = new InodeInHand(core);
    this.directory = new InodeInHand(core);
    this.target = new InodeInHand(core);
    this.newDirectory = new InodeInHand(core);
  }

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
    const { journal, directory } = core;
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
      if (this.links.staysOut(ib, iw, nb, nw) || (exchange && this.links.staysOut(tb, tw, ob, ow)))
        return -EXDEV;
      const gainsDirectory = isDirectory && !targetIsDirectory;
      const losesDirectory = exchange && targetIsDirectory && !isDirectory;
      if (gainsDirectory && core.pmem.load(nb, nw + I_NLINK) >= LINK_MAX) return -EMLINK;
      if (losesDirectory && core.pmem.load(ob, ow + I_NLINK) >= LINK_MAX) return -EMLINK;
    }
    let whiteoutIndex = 0;
    if (whiteout) {
      whiteoutIndex = this.takeWhiteout(ob, ow);
      if (whiteoutIndex < 0) return whiteoutIndex;
    }
    if (!hasTarget) {
      const error = directory.makeRoom(nb, nw, newDir, op.u8, newStart, newLength);
      if (error < 0) {
        if (whiteout) this.giveWhiteout(whiteoutIndex, ob, ow);
        return error;
      }
    }
    // Looked for now, because making room may have moved it.
    found = directory.find(ob, ow, oldDir, op.u8, oldStart, oldLength);
    if (found <= 0 || directory.ino !== index) {
      if (whiteout) this.giveWhiteout(whiteoutIndex, ob, ow);
      return found < 0 ? found : -ENOENT;
    }
    const oldLeaf = directory.leaf;
    const oldRecord = directory.record;

    core.setClock(core.u32(op, zufs_ioc_rename.time), core.u32(op, zufs_ioc_rename.time + 4));
    journal.begin();
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
      this.stageWhiteout(whiteoutIndex, this.links.projectIn(ob, ow));
    } else {
      cleared = this.links.take(ob, ow, oldLeaf, oldRecord, -1);
      if (cleared < 0) {
        journal.abort();
        return cleared;
      }
    }
    // Links: what was replaced loses one; directories that change parents move the link of their `..`.
    if (hasTarget && !exchange) this.links.drop(tb, tw, nb, nw, targetIsDirectory);
    if (oldDir !== newDir) {
      if (isDirectory) this.moveParent(ib, iw, ob, ow, nb, nw, newDir);
      if (exchange && targetIsDirectory) this.moveParent(tb, tw, nb, nw, ob, ow, oldDir);
    }
    core.stampModified(ob, ow);
    core.stampModified(nb, nw);
    core.stampTime(ib, iw + I_CTIME);
    if (hasTarget) core.stampTime(tb, tw + I_CTIME);
    journal.commit();
    if (cleared === 1) directory.releaseOld(ob, ow);
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

  /** An inode for a whiteout in a directory: the superuser's, but of the directory's project. Returns its index or -errno. */
  private takeWhiteout(db: number, dw: number): number {
    const { quota, inodes } = this.core;
    const project = this.links.projectIn(db, dw);
    if (quota !== null && quota.takeInode(0, 0, project, 0) < 0) return -EDQUOT;
    const index = inodes.allocate();
    if (index < 0) quota?.giveInode(0, 0, project, 0);
    return index;
  }

  private giveWhiteout(index: number, db: number, dw: number): void {
    this.core.inodes.release(index);
    this.core.quota?.giveInode(0, 0, this.links.projectIn(db, dw), 0);
  }

  /** What overlayfs leaves behind a renamed file: a character device 0:0. */
  private stageWhiteout(index: number, project: number): void {
    const core = this.core;
    const journal = core.journal;
    const ib = core.inodes.slotBlock(index);
    const iw = slotWord(index);
    const generation = (core.pmem.load(ib, iw + I_GENERATION) + 1) >>> 0;
    const place = journal.stageInode(ib, iw, null, 0, 0);
    journal.put(place, I_FLAGS_MODE, S_IFCHR * 65536);
    journal.put(place, I_NLINK, 1);
    journal.put64(place, I_INO, index);
    journal.put64(place, I_GENERATION, generation);
    journal.put(place, X_PROJECT, project);
    journal.put(place, X_STATE, INODE_IN_USE);
    core.stampModified(ib, iw);
    core.stampTime(ib, iw + I_ATIME);
    core.stampTime(ib, iw + X_BIRTH);
  }
}
