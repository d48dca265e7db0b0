// SPDX-License-Identifier: BSD-3-Clause

import { expect, it } from 'vitest';
import { measureMount } from './measure-mount.ts';

it('a mount after a clean unmount looks at the root only, one after a crash at every inode', {
  timeout: 120_000,
}, () => {
  for (const files of [1000, 3000]) {
    const figures = measureMount(files, 10);
    expect(figures.checkedClean).toBe(1);
    // With the root and the directories.
    expect(figures.checkedCrash).toBe(files + 11);
    expect(figures.bytesPerInode).toBeLessThan(1);
    expect(figures.bytesPerBlock).toBeLessThan(4);
  }
});
