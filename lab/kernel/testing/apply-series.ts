// SPDX-License-Identifier: BSD-3-Clause

import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { quietContext } from '../../runtime/testing/context.ts';
import { exists, type KernelChanges } from '../changes.ts';
import type { Series } from '../export.ts';
import { git } from '../git.ts';
import type { KernelSource } from '../source.ts';

/**
 * Apply an exported series with `git am` to a clean copy of `source` (of those files that it changes), and return the paths
 * where the outcome is not byte for byte what `changes` has.
 */
export async function applySeries(
  series: Series,
  source: KernelSource,
  changes: KernelChanges,
): Promise<string[]> {
  const clean = await mkdtemp(join(tmpdir(), 'zufs-lab-am-'));
  const run = (...args: string[]) =>
    git(['-c', 'user.name=T', '-c', 'user.email=t@example.org', '-C', clean, ...args], {
      ...quietContext(),
      cwd: clean,
    });
  try {
    await run('init', '--quiet');
    for (const path of changes.paths) {
      if (!(await exists(join(source.directory, path)))) continue;
      await mkdir(dirname(join(clean, path)), { recursive: true });
      await cp(join(source.directory, path), join(clean, path));
    }
    await run('add', '--all', '--force', '.');
    await run('commit', '--quiet', '--allow-empty', '--no-gpg-sign', '-m', 'clean');
    await run('am', '--quiet', ...series.files.filter((file) => !basename(file).startsWith('0000-')));
    const same = async (path: string): Promise<boolean> => {
      const [mine, theirs] = [join(clean, path), join(changes.directory, path)];
      if (!(await exists(mine)) || !(await exists(theirs)))
        return (await exists(mine)) === (await exists(theirs));
      return (await readFile(mine)).equals(await readFile(theirs));
    };
    const verdicts = await Promise.all(changes.paths.map(same));
    return changes.paths.filter((_, index) => !verdicts[index]);
  } finally {
    await rm(clean, { recursive: true, force: true });
  }
}
