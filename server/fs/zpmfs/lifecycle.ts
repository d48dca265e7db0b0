// SPDX-License-Identifier: BSD-3-Clause

import {
  FLAG,
  statfs64,
  zufs_ioc_attr,
  zufs_ioc_evict_inode,
  zufs_ioc_hdr,
  zufs_ioc_mount_options,
  zufs_ioc_statfs,
} from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { EINVAL, EUCLEAN } from './errno.ts';
import {
  BLOCK_SHIFT,
  BLOCK_SIZE,
  FS_MAGIC,
  I_DIR_ROOT,
  I_NLINK,
  I_SYMLINK_DPP,
  INODES_PER_BLOCK,
  NAME_MAX,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SYMLINK_INLINE_BYTES,
  TWO_32,
  X_MAP_HEIGHT,
  X_STATE,
  X_XATTR_BLOCK,
  X_XATTR_BLOCKS,
} from './format.ts';
import { CHANGES, InodeInHand } from './in-hand.ts';
import { slotWord } from './inodes.ts';
import {
  FLAG_READ_ONLY,
  H_FREE_BLOCKS,
  H_FREE_INODES,
  H_FSID,
  H_INODE_BLOCKS,
  H_OPTIONS_LENGTH,
  H_USABLE_BLOCKS,
} from './shared.ts';
import { releaseXattrChain } from './xattr-stream.ts';

/** The end of inodes, what the kernel changed in them, and what the file system says about itself. */
export class Lifecycle {
  private readonly core: Core;
  private readonly inode: InodeInHand;

  constructor(core: Core) {
    this.core = core;
    this.inode = new InodeInHand(core);
  }

  freeInode(op: Operation): number {
    const core = this.core;
    const opened = this.inode.open(op, zufs_ioc_evict_inode.zus_ii, CHANGES);
    if (opened < 0) return opened;
    const { index, ib, iw } = this.inode;
    if (core.pmem.load(ib, iw + I_NLINK) !== 0) return -EINVAL;
    return this.release(index, ib);
  }

  /** Free an inode without links and all that it owns. */
  release(index: number, ib: number): number {
    const core = this.core;
    const iw = slotWord(index);
    if (this.isSlotAlone(ib, iw)) {
      this.releaseSlot(ib, iw);
    } else {
      const error = this.releaseAll(index, ib, iw);
      if (error < 0) return error;
    }
    core.quota?.dropInode(ib, iw);
    core.inodes.release(index);
    return 0;
  }

  /** Whether it is a file that has no blocks. */
  private isSlotAlone(ib: number, iw: number): boolean {
    const { pmem } = this.core;
    return (
      (this.core.mode(ib, iw) & S_IFMT) === S_IFREG &&
      pmem.load(ib, iw + X_MAP_HEIGHT) === 0 &&
      pmem.load(ib, iw + X_XATTR_BLOCK) === 0
    );
  }

  /**
   * One word, which needs no journal, of an inode that nobody can reach any more, which needs no lock. Nor does it wait for a fence, as no block
   * comes free with it that somebody could take: as long as it is not durable there is an inode without links on the media, which a mount
   * after a crash removes. An unmount by another CPU finds it durable: the inode's number comes free by locked instructions, and these order
   * what was written back as a fence does.
   */
  private releaseSlot(ib: number, iw: number): void {
    const { pmem } = this.core;
    pmem.store(ib, iw + X_STATE, 0);
    pmem.writeBack(ib, (iw + X_STATE) * 4, 4);
  }

  /** As one transaction. */
  private releaseAll(index: number, ib: number, iw: number): number {
    const core = this.core;
    const { journal, mapping, pmem, allocator, shared } = core;
    const mode = core.mode(ib, iw);
    shared.lockExclusive(index);
    journal.begin();
    mapping.begin();
    let error = 0;
    if ((mode & S_IFMT) === S_IFREG) error = mapping.cutAll(ib, iw);
    if (error < 0) {
      journal.abort();
      shared.unlockExclusive(index);
      return -EUCLEAN;
    }
    // All that changes is this word: what else the slot holds means nothing then.
    journal.set(ib, iw + X_STATE, 0);
    journal.commit();
    mapping.releaseCleared();
    if ((mode & S_IFMT) === S_IFDIR) {
      core.directory.releaseTree(pmem.load(ib, iw + I_DIR_ROOT), pmem.load(ib, iw + I_DIR_ROOT + 1), 0);
    }
    if ((mode & S_IFMT) === S_IFLNK && core.size(ib, iw) > SYMLINK_INLINE_BYTES) {
      const dpp = pmem.load(ib, iw + I_SYMLINK_DPP) + pmem.load(ib, iw + I_SYMLINK_DPP + 1) * TWO_32;
      const block = Math.floor(dpp / BLOCK_SIZE);
      if (pmem.inRange(block)) allocator.release(block);
    }
    releaseXattrChain(core, pmem.load(ib, iw + X_XATTR_BLOCK), pmem.load(ib, iw + X_XATTR_BLOCKS));
    shared.unlockExclusive(index);
    return 0;
  }

  /** The kernel forgets an inode that lives on: what it stored there last becomes durable. */
  evictInode(op: Operation): number {
    const core = this.core;
    if ((core.u32(op, zufs_ioc_evict_inode.flags) & FLAG.ZI_LOOKUP_RACE) !== 0) return 0;
    const error = this.inode.take(op, zufs_ioc_evict_inode.zus_ii);
    if (error < 0) return error;
    if (core.shared.flag(FLAG_READ_ONLY)) return 0;
    core.pmem.writeBack(this.inode.ib, this.inode.iw * 4, 128);
    core.pmem.fence();
    return 0;
  }

  setattr(op: Operation): number {
    const core = this.core;
    const opened = this.inode.open(op, zufs_ioc_attr.zus_ii, CHANGES);
    if (opened < 0) return opened;
    core.pmem.writeBack(this.inode.ib, this.inode.iw * 4, 128);
    core.pmem.fence();
    return 0;
  }

  statfs(op: Operation): number {
    const core = this.core;
    const refused = core.refuse(false);
    if (refused < 0) return refused;
    const header = core.shared.header;
    const out = zufs_ioc_statfs.statfs_out;
    const free = Atomics.load(header, H_FREE_BLOCKS);
    const inodes = Atomics.load(header, H_INODE_BLOCKS) * INODES_PER_BLOCK;
    const freeInodes = Atomics.load(header, H_FREE_INODES);
    // Inodes come out of free blocks, as long as the inode table may grow.
    const more = Math.min(free, core.shared.inodeBlockMax - inodes / INODES_PER_BLOCK) * INODES_PER_BLOCK;
    core.setU64(op, out + statfs64.f_type, FS_MAGIC);
    core.setU64(op, out + statfs64.f_bsize, BLOCK_SIZE);
    core.setU64(op, out + statfs64.f_blocks, header[H_USABLE_BLOCKS]);
    core.setU64(op, out + statfs64.f_bfree, free);
    core.setU64(op, out + statfs64.f_bavail, core.allocator.availableForData());
    core.setU64(op, out + statfs64.f_files, inodes + more);
    core.setU64(op, out + statfs64.f_ffree, freeInodes + more);
    core.setU32(op, out + statfs64.f_fsid, header[H_FSID]);
    core.setU32(op, out + statfs64.f_fsid + 4, header[H_FSID + 1]);
    core.setU64(op, out + statfs64.f_namelen, NAME_MAX);
    core.setU64(op, out + statfs64.f_frsize, 2 ** BLOCK_SHIFT);
    core.setU64(op, out + statfs64.f_flags, 0);
    for (let word = 0; word < 8; word++) core.setU32(op, out + statfs64.f_spare + word * 4, 0);
    return 0;
  }

  showOptions(op: Operation): number {
    const core = this.core;
    const length = core.shared.header[H_OPTIONS_LENGTH];
    const start = op.base + zufs_ioc_mount_options.buf;
    for (let index = 0; index < length; index++) op.u8[start + index] = core.shared.options[index];
    op.u16[(op.base + zufs_ioc_hdr.out_len) >>> 1] = length;
    return 0;
  }
}
