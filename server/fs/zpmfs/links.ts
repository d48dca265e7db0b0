// SPDX-License-Identifier: BSD-3-Clause

import { FS_PROJINHERIT } from './attributes.ts';
import type { Core } from './core.ts';
import { EUCLEAN } from './errno.ts';
import { I_NLINK, X_ENTRIES, X_PROJECT, X_XFLAGS } from './format.ts';

/** What operations on names have in common: links and names of inodes, staged in the caller's transaction. */
export class Links {
  private readonly core: Core;

  constructor(core: Core) {
    this.core = core;
  }

  /** A directory whose project is inherited takes no inode of another one. */
  staysOut(ib: number, iw: number, db: number, dw: number): boolean {
    const { pmem } = this.core;
    if ((pmem.load(db, dw + X_XFLAGS) & FS_PROJINHERIT) === 0) return false;
    return pmem.load(ib, iw + X_PROJECT) !== pmem.load(db, dw + X_PROJECT);
  }

  /** The project that a new inode in a directory belongs to. */
  projectIn(db: number, dw: number): number {
    const { pmem } = this.core;
    return (pmem.load(db, dw + X_XFLAGS) & FS_PROJINHERIT) === 0 ? 0 : pmem.load(db, dw + X_PROJECT) | 0;
  }

  /**
   * Stage the removal of a record; `previous` is as for `Directory.remove`. Returns 1 when it was the last one of a tall tree,
   * which then goes as a whole (`Directory.releaseOld`), 0 when not, or -EUCLEAN.
   */
  take(db: number, dw: number, leaf: number, record: number, previous: number): number {
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
  drop(ib: number, iw: number, db: number, dw: number, isDirectory: boolean): void {
    const journal = this.core.journal;
    const links = journal.get(ib, iw + I_NLINK);
    if (isDirectory) {
      journal.set(ib, iw + I_NLINK, 0);
      journal.set(db, dw + I_NLINK, Math.max(2, journal.get(db, dw + I_NLINK) - 1));
    } else {
      journal.set(ib, iw + I_NLINK, Math.max(0, links - 1));
    }
  }
}
