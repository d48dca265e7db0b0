// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { scratchDirectory } from '../testing/scratch.ts';
import { configurationKey } from './config.ts';

async function key(options: {
  files?: Record<string, string>;
  fragment?: string;
  compiler?: string;
  identity?: string;
  directory?: string;
}) {
  const scratch = await scratchDirectory();
  const files = { 'fs/Kconfig': 'source "fs/zuf/Kconfig"\n', 'mm/memory.c': 'int x;\n', ...options.files };
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(scratch, name)), { recursive: true });
    await writeFile(join(scratch, name), text);
  }
  const fragment = join(scratch, 'base.config');
  await writeFile(fragment, options.fragment ?? 'CONFIG_A=y\n');
  const source = {
    identity: options.identity ?? 'debian',
    directory: options.directory ?? '/unused',
    cached: options.directory === undefined,
    version: '6.12.7',
    description: 'test',
  };
  const changes = {
    directory: scratch,
    paths: Object.keys(files),
    identity: 'unused',
    [Symbol.asyncDispose]: async () => undefined,
  };
  return await configurationKey(source, changes, [fragment], options.compiler ?? 'gcc 12');
}

test('code may change without a new configuration', async () => {
  expect(await key({ files: { 'mm/memory.c': 'int y;\n' } })).toBe(await key({}));
});

test.each([
  { files: { 'fs/Kconfig': 'config ZUFS_FS\n' } },
  { files: { 'fs/zuf/Kconfig': 'config ZUFS_FS\n' } },
  { fragment: 'CONFIG_A=n\n' },
  { compiler: 'gcc 13' },
  { identity: 'another' },
])('what options depend on may not: %j', async (options) => {
  expect(await key(options)).not.toBe(await key({}));
});

test('in a directory of the user’s every change counts', async () => {
  const directory = await scratchDirectory();
  const before = await key({ directory });
  await writeFile(join(directory, 'Kconfig'), 'config NEW\n');
  expect(await key({ directory })).not.toBe(before);
});
