// SPDX-License-Identifier: BSD-3-Clause

import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from './changes.ts';
import { askedOptions, verifyConfig } from './fragments.ts';
import type { KernelMake } from './make.ts';

/**
 * Configure the object directory: tinyconfig, the fragments merged by the tree's own script, olddefconfig, and a check that
 * all that was asked for is there.
 */
export async function configure(make: KernelMake, fragments: readonly string[]): Promise<void> {
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
}
