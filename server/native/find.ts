// SPDX-License-Identifier: BSD-3-Clause

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Absolute path of the addon for the program whose `import.meta.url` is `entry`: in the bundle it lies beside it; in a
 * checkout it is compiled when it is not there yet.
 */
export async function findAddon(entry: string | URL): Promise<string> {
  const beside = fileURLToPath(new URL('addon.node', entry));
  if (existsSync(beside)) return beside;
  const { buildAddon } = await import('./build.ts');
  return buildAddon();
}
