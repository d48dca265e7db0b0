// SPDX-License-Identifier: BSD-3-Clause

import { DirectoryCheck } from './check-directories.ts';
import type { BlockSource, CheckResult } from './check-state.ts';
import * as f from './format.ts';

/**
 * fsck: everything on the media against everything else, read-only. It shares the format's constants with the file
 * system and nothing of its code, so that a mistake there is not repeated here.
 */

export {
  type BlockSource,
  type CheckResult,
  memorySource,
  type Patch,
  type Problem,
  type Remedy,
  type WritableSource,
} from './check-state.ts';

export function checkFileSystem(source: BlockSource): CheckResult {
  return new Checker(source).run();
}

export class Checker extends DirectoryCheck {
  run(): CheckResult {
    if (this.checkHeaders()) {
      for (const index of this.checkInodes()) this.walkDirectory(index);
      this.checkLinks();
      if (this.problems.length === 0) this.checkSaved();
    }
    let directories = 0;
    let files = 0;
    for (const { mode } of this.inodes.values()) {
      if ((mode & f.S_IFMT) === f.S_IFDIR) directories++;
      if ((mode & f.S_IFMT) === f.S_IFREG) files++;
    }
    const { usedBlocks, sharedBlocks } = this;
    const others = this.inodes.size - directories - files;
    return {
      problems: this.problems,
      notes: this.notes,
      superblock: this.superblock,
      table: this.table,
      counts: { directories, files, others, usedBlocks, sharedBlocks },
    };
  }
}
