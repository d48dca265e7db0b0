// SPDX-License-Identifier: BSD-3-Clause

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { ToolSet } from './runtime.ts';

export const toolSets = [
  'kernel-build',
  'image-build',
  'vm',
  'server-build',
  'xfstests-build',
  'bench-build',
] as const satisfies ToolSet[];

const packages = z.record(z.enum(toolSets), z.array(z.string().regex(/^[a-z0-9][a-z0-9+.-]+$/)).min(1));

let known: z.infer<typeof packages> | undefined;

/** Debian packages of a tool set, from tools.yaml. */
export function packagesOf(tools: ToolSet): readonly string[] {
  known ??= packages.parse(parse(readFileSync(join(import.meta.dirname, 'tools.yaml'), 'utf8')));
  return known[tools];
}

/** Those of every tool set, each once. */
export function allPackages(): readonly string[] {
  return [...new Set(toolSets.flatMap((tools) => packagesOf(tools)))].sort();
}
