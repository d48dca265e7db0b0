// SPDX-License-Identifier: BSD-3-Clause

import { EDQUOT } from './errno.ts';
import {
  BLOCK_WORDS,
  I_BLOCKS,
  I_FLAGS_MODE,
  I_GID,
  I_INO,
  I_SIZE,
  I_UID,
  ROOT_INODE,
  S_IFDIR,
  X_PROJECT,
  X_XATTR_BLOCKS,
} from './format.ts';
import type { Pmem } from './pmem.ts';
import { QUOTA_TYPES, type QuotaTable } from './quota-table.ts';
import { H_QUOTA_COUNTED, type SharedState } from './shared.ts';

/** Words of an inode that name its owner of each type. */
const OWNER_WORDS = [I_UID, I_GID, X_PROJECT];
const LIMITED = false;

/**
 * Counting for one ZT what inodes take: for the user, the group and the project that an inode belongs to, where these are counted.
 * Operations take what they may need before they change anything, and give back what they did not need, or freed, once that is
 * committed. The owner of an inode changes under its lock only, which is held wherever its blocks change.
 */
export class Quota {
  readonly table: QuotaTable;
  private readonly pmem: Pmem;
  private readonly counted: number;
  /** The owner of each type that came last, and its place: mostly it comes again. */
  private readonly lastId = new Int32Array(QUOTA_TYPES);
  private readonly lastSlot = new Int32Array(QUOTA_TYPES).fill(-1);

  constructor(pmem: Pmem, shared: SharedState, table: QuotaTable) {
    this.pmem = pmem;
    this.table = table;
    this.counted = shared.header[H_QUOTA_COUNTED];
  }

  counts(type: number): boolean {
    return ((this.counted >>> type) & 1) !== 0;
  }

  /** The place of an owner in the table; -1 when it is not counted. */
  private slotOf(type: number, id: number): number {
    if (!this.counts(type)) return -1;
    if (this.lastId[type] === id && this.lastSlot[type] >= 0) return this.lastSlot[type];
    const slot = this.table.slotFor(type, id);
    this.lastId[type] = id;
    this.lastSlot[type] = slot;
    return slot;
  }

  private ownerOf(ib: number, iw: number, type: number): number {
    return this.pmem.u32[ib * BLOCK_WORDS + iw + OWNER_WORDS[type]] | 0;
  }

  /** Blocks for an inode that is there. Returns 0 or -EDQUOT. */
  takeBlocks(ib: number, iw: number, blocks: number): number {
    if (blocks === 0) return 0;
    for (let type = 0; type < QUOTA_TYPES; type++) {
      const slot = this.slotOf(type, this.ownerOf(ib, iw, type));
      if (slot < 0 || this.table.take(type, slot, blocks, 0, LIMITED)) continue;
      for (let before = 0; before < type; before++)
        this.giveOwner(before, this.ownerOf(ib, iw, before), blocks, 0);
      return -EDQUOT;
    }
    return 0;
  }

  giveBlocks(ib: number, iw: number, blocks: number): void {
    if (blocks === 0) return;
    for (let type = 0; type < QUOTA_TYPES; type++)
      this.giveOwner(type, this.ownerOf(ib, iw, type), blocks, 0);
  }

  /** Blocks that an inode may still get, at most `most`. */
  room(ib: number, iw: number, most: number): number {
    let room = most;
    for (let type = 0; type < QUOTA_TYPES; type++) {
      const slot = this.slotOf(type, this.ownerOf(ib, iw, type));
      if (slot >= 0) room = this.table.room(type, slot, room);
    }
    return room;
  }

  /** An inode that is to be made, of these owners and with so many blocks. Returns 0 or -EDQUOT. */
  takeInode(uid: number, gid: number, project: number, blocks: number): number {
    if (!this.takeOwner(0, uid, blocks, 1, LIMITED)) return -EDQUOT;
    if (!this.takeOwner(1, gid, blocks, 1, LIMITED)) {
      this.giveOwner(0, uid, blocks, 1);
      return -EDQUOT;
    }
    if (this.takeOwner(2, project, blocks, 1, LIMITED)) return 0;
    this.giveOwner(0, uid, blocks, 1);
    this.giveOwner(1, gid, blocks, 1);
    return -EDQUOT;
  }

  /** What `takeInode` took. */
  giveInode(uid: number, gid: number, project: number, blocks: number): void {
    this.giveOwner(0, uid, blocks, 1);
    this.giveOwner(1, gid, blocks, 1);
    this.giveOwner(2, project, blocks, 1);
  }

  /** All that an inode has, which is no more. */
  dropInode(ib: number, iw: number): void {
    const blocks = this.chargedBlocks(ib, iw);
    for (let type = 0; type < QUOTA_TYPES; type++)
      this.giveOwner(type, this.ownerOf(ib, iw, type), blocks, 1);
  }

  /** An inode that a mount found. */
  addInode(ib: number, iw: number): void {
    const blocks = this.chargedBlocks(ib, iw);
    for (let type = 0; type < QUOTA_TYPES; type++) {
      const slot = this.slotOf(type, this.ownerOf(ib, iw, type));
      if (slot >= 0) this.table.add(slot, blocks, 1);
    }
  }

  /** Count what an inode has for another owner too, before it changes hands. Returns 0 or -EDQUOT, which `forced` rules out. */
  takeFor(ib: number, iw: number, type: number, id: number, forced: boolean): number {
    if (this.ownerOf(ib, iw, type) === id) return 0;
    return this.takeOwner(type, id, this.chargedBlocks(ib, iw), 1, forced) ? 0 : -EDQUOT;
  }

  /** Undo `takeFor`. */
  giveFor(ib: number, iw: number, type: number, id: number): void {
    if (this.ownerOf(ib, iw, type) !== id) this.giveOwner(type, id, this.chargedBlocks(ib, iw), 1);
  }

  /** After `takeFor` and before the new owner `id` is stored: the old one has it no more. */
  leave(ib: number, iw: number, type: number, id: number): void {
    const old = this.ownerOf(ib, iw, type);
    if (old !== id) this.giveOwner(type, old, this.chargedBlocks(ib, iw), 1);
  }

  /**
   * What an inode is charged for: its blocks, but for the first one of a directory's tree, which comes with the inode as does a
   * directory of a few names in others, and for attributes of the root, among which are the limits themselves.
   */
  private chargedBlocks(ib: number, iw: number): number {
    const { u32 } = this.pmem;
    const at = ib * BLOCK_WORDS + iw;
    let blocks = u32[at + I_BLOCKS];
    const isDirectory = (u32[at + I_FLAGS_MODE] >>> 28) << 12 === S_IFDIR;
    if (isDirectory && (u32[at + I_SIZE] !== 0 || u32[at + I_SIZE + 1] !== 0)) blocks--;
    if (u32[at + I_INO] === ROOT_INODE) blocks -= u32[at + X_XATTR_BLOCKS];
    return Math.max(0, blocks);
  }

  private takeOwner(type: number, id: number, blocks: number, inodes: number, forced: boolean): boolean {
    const slot = this.slotOf(type, id);
    return slot < 0 || this.table.take(type, slot, blocks, inodes, forced);
  }

  private giveOwner(type: number, id: number, blocks: number, inodes: number): void {
    const slot = this.slotOf(type, id);
    if (slot >= 0) this.table.give(type, slot, blocks, inodes);
  }
}
