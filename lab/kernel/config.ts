// SPDX-License-Identifier: BSD-3-Clause

import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { artefactKey } from '../cache-directory.ts';
import { hashFiles } from '../hash-files.ts';
import { exists, type KernelChanges } from './changes.ts';
import { askedOptions, verifyConfig } from './fragments.ts';
import type { KernelMake } from './make.ts';
import { directoryState } from './not-source.ts';
import type { KernelSource } from './source.ts';

/** Files that no option depends on: code and documentation. */
const noConfiguration = /\.([chS]|rst|lds|txt)$/;

/** Hash of all that the configuration comes from. A directory may have changed in any of its files, so all of it counts. */
export async function configurationKey(
  source: KernelSource,
  changes: KernelChanges,
  fragments: readonly string[],
  compiler: string,
): Promise<string> {
  const staged = changes.paths.filter((path) => !noConfiguration.test(path));
  const present = await Promise.all(staged.map((path) => exists(join(changes.directory, path))));
  return artefactKey('configuration', [
    source.cached ? source.identity : await directoryState(source.directory),
    compiler,
    staged.join('\n'),
    await hashFiles(staged.filter((_, index) => present[index]).map((path) => join(changes.directory, path))),
    await hashFiles(fragments),
  ]);
}

/**
 * Configure the object directory: tinyconfig, the fragments merged by the tree's own script, olddefconfig, and a check that
 * all that was asked for is there. Left as it is when it was configured from the same (`key`) before.
 */
export async function configure(make: KernelMake, fragments: readonly string[], key: string): Promise<void> {
  const done = join(make.objects, '.configured');
  if ((await readFile(done, 'utf8').catch(() => '')) === key) return;
  await rm(done, { force: true });
  const asked = await askedOptions(fragments);
  const config = join(make.objects, '.config');
  const kept = join(make.objects, '.config.last');
  if (await exists(config)) await rename(config, kept);
  await make.run(['tinyconfig']);
  const script = join(make.tree, 'scripts', 'kconfig', 'merge_config.sh');
  // Fragments may lie anywhere; the copy in the object directory is where a container sees it.
  const merged = join(make.objects, '.fragments');
  await writeFile(merged, (await Promise.all(fragments.map((file) => readFile(file, 'utf8')))).join('\n'));
  await make.program([script, '-m', '-O', make.objects, config, merged]);
  await make.run(['olddefconfig']);
  const result = await readFile(config, 'utf8');
  verifyConfig(result, asked);
  // Unchanged, it keeps its time, and make has nothing to work out from it.
  if ((await exists(kept)) && (await readFile(kept, 'utf8')) === result) await rename(kept, config);
  await writeFile(done, key);
}
