// SPDX-License-Identifier: BSD-3-Clause

/** `npm run generate`: writes the C header and `layout.ts` from `zufs-abi.yaml`. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cHeader } from './c-header.ts';
import { readDefinition } from './definition.ts';
import { tsLayout } from './ts-layout.ts';

const repository = new URL('../../', import.meta.url);

export const headerPath = fileURLToPath(
  new URL('kernel-config/tree/include/uapi/linux/zufs_api.h', repository),
);
export const layoutPath = fileURLToPath(new URL('server/abi/layout.ts', repository));

/** What each generated file has to hold. */
export function generatedFiles(): { readonly path: string; readonly text: string }[] {
  const definition = readDefinition();
  return [
    { path: headerPath, text: cHeader(definition) },
    { path: layoutPath, text: tsLayout(definition) },
  ];
}

if (import.meta.main) {
  for (const { path, text } of generatedFiles()) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}
