// SPDX-License-Identifier: BSD-3-Clause

import { zufs_ioc_ioctl } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { EINVAL } from './errno.ts';
import { LABEL_WORDS, ROOT_INODE, SB_LABEL, SUPER_BACKUP_BLOCK, SUPER_BLOCK } from './format.ts';

/** FSLABEL_MAX: what both ioctls carry, the NUL at the end included. */
const ARGUMENT_WORDS = 64;

/** The label of the file system, under the lock of its root. */
export class Label {
  private readonly core: Core;

  constructor(core: Core) {
    this.core = core;
  }

  /** FS_IOC_GETFSLABEL */
  get(op: Operation): number {
    const { core } = this;
    const { pmem, shared } = core;
    shared.lockShared(ROOT_INODE);
    for (let word = 0; word < ARGUMENT_WORDS; word++) {
      const value = word < LABEL_WORDS ? pmem.load(SUPER_BLOCK, SB_LABEL + word) : 0;
      core.setU32(op, zufs_ioc_ioctl.arg + word * 4, value);
    }
    shared.unlockShared(ROOT_INODE);
    return 0;
  }

  /** FS_IOC_SETFSLABEL; -EINVAL for one of more than 32 bytes. */
  set(op: Operation): number {
    const { core } = this;
    const { journal, shared } = core;
    const length = this.lengthOf(op);
    if (length > LABEL_WORDS * 4) return -EINVAL;
    shared.lockExclusive(ROOT_INODE);
    journal.begin();
    for (let word = 0; word < LABEL_WORDS; word++) {
      // What lies behind the NUL is not part of it.
      const bytes = Math.max(0, Math.min(4, length - word * 4));
      const mask = bytes === 4 ? -1 : (1 << (bytes * 8)) - 1;
      const value = (core.u32(op, zufs_ioc_ioctl.arg + word * 4) & mask) >>> 0;
      journal.set(SUPER_BLOCK, SB_LABEL + word, value);
      journal.set(SUPER_BACKUP_BLOCK, SB_LABEL + word, value);
    }
    journal.commit();
    shared.unlockExclusive(ROOT_INODE);
    return 0;
  }

  /** Bytes before the NUL; all of the argument when it has none. */
  private lengthOf(op: Operation): number {
    for (let word = 0; word < ARGUMENT_WORDS; word++) {
      const value = this.core.u32(op, zufs_ioc_ioctl.arg + word * 4);
      for (let byte = 0; byte < 4; byte++) if (((value >>> (byte * 8)) & 0xff) === 0) return word * 4 + byte;
    }
    return ARGUMENT_WORDS * 4;
  }
}
