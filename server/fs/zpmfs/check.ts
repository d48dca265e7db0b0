// SPDX-License-Identifier: BSD-3-Clause

import { DirectoryCheck } from './check-directories.ts';
import type { BlockSource, CheckResult } from './check-state.ts';
import { FREE } from './check-state.ts';
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
}
