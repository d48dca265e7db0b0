// SPDX-License-Identifier: BSD-3-Clause

/** The configuration file of `zus`: YAML, checked against one schema. */

import { readFileSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { CONST } from './abi/layout.ts';
import { fileSystemNames } from './fs/index.ts';
import { type ServeSettings, UsageError } from './options.ts';
import { logLevels } from './zt/log.ts';

const path = z.string().startsWith('/', 'it has to be an absolute path');

export const configSchema = z.strictObject({
  fs: z
    .array(z.enum(fileSystemNames as [string, ...string[]]))
    .min(1)
    .refine((names) => new Set(names).size === names.length, 'a file system is named twice')
    .describe('file systems to register'),
  channels: z.int().min(1).max(CONST.ZUFS_MAX_ZT_CHANNELS).describe('server threads a CPU'),
  extentCache: z.boolean().describe('whether the kernel may keep extents and copy by itself'),
  logLevel: z.enum(logLevels as unknown as [string, ...string[]]).describe('how much to log'),
  root: path.describe('where zuf-root is mounted'),
  control: path.describe('control socket'),
});

/** What the file says; all of it is optional. Throws `UsageError` with file and line. */
export function readConfig(file: string): Partial<ServeSettings> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(
      `cannot read ${file}: ${error instanceof Error ? error.message.split(',')[0] : error}`,
    );
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [mistake] = document.errors;
  if (mistake !== undefined)
    throw new UsageError(
      `${file}:${mistake.linePos?.[0].line ?? 1}: ${mistake.message.split('\n')[0].replace(/ at line .*/, '')}`,
    );
  const value: unknown = document.toJS() ?? {};
  const checked = configSchema.partial().safeParse(value);
  if (checked.success) return checked.data as Partial<ServeSettings>;
  const [issue] = checked.error.issues;
  // An unknown key is an issue of what it is in.
  const at = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0]] : issue.path;
  const node: unknown = document.getIn(at, true);
  const key =
    document.contents !== null && 'items' in (document.contents as object)
      ? keyNode(document.contents, String(at[0]))
      : null;
  const range = rangeOf(node) ?? rangeOf(key);
  const line = range === null ? 1 : lines.linePos(range).line;
  throw new UsageError(`${file}:${line}: ${at.length > 0 ? `${at.join('.')}: ` : ''}${issue.message}`);
}

function rangeOf(node: unknown): number | null {
  const range = (node as { range?: readonly number[] } | null | undefined)?.range;
  return range?.[0] ?? null;
}

function keyNode(map: unknown, name: string): unknown {
  const { items } = map as { items?: readonly { key: { value?: unknown } | null }[] };
  return items?.find(({ key }) => key?.value === name)?.key ?? null;
}
