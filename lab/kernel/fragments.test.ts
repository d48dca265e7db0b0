// SPDX-License-Identifier: BSD-3-Clause

import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../paths.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { kernelConfigDirectory } from './changes.ts';
import { askedOptions, fragmentsFor, verifyConfig } from './fragments.ts';

async function fragment(name: string, text: string): Promise<string> {
  const file = join(await scratchDirectory(), name);
  await writeFile(file, text);
  return file;
}

test('the last fragment that names an option counts', async () => {
  const base = await fragment('base.config', '# a comment\nCONFIG_A=y\nCONFIG_B=64\n# CONFIG_C is not set\n');
  const mine = await fragment('mine.config', 'CONFIG_A=n\nCONFIG_D="text"\n');
  const asked = await askedOptions([base, mine]);
  expect(asked.map(({ name, value, fragment: from }) => [name, value, basename(from)])).toEqual([
    ['CONFIG_A', 'n', 'mine.config'],
    ['CONFIG_B', '64', 'base.config'],
    ['CONFIG_C', 'n', 'base.config'],
    ['CONFIG_D', '"text"', 'mine.config'],
  ]);
});

test('a configuration that has all that was asked for passes', async () => {
  const file = await fragment(
    'base.config',
    'CONFIG_A=y\nCONFIG_B=n\n# CONFIG_C is not set\nCONFIG_D="text"\n',
  );
  verifyConfig(
    'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_D="text"\nCONFIG_E=y\n',
    await askedOptions([file]),
  );
});

test('an option that did not survive is named with its fragment', async () => {
  const file = await fragment('pmem.config', 'CONFIG_A=y\nCONFIG_FS_DAX=y\nCONFIG_ND=64\n');
  const asked = await askedOptions([file]);
  expect(() => verifyConfig('CONFIG_A=y\n# CONFIG_FS_DAX is not set\nCONFIG_ND=8\n', asked)).toThrow(
    `CONFIG_FS_DAX=y, asked for by ${file}, did not survive: the result has n. Likewise CONFIG_ND=64 (pmem.config).`,
  );
});

test('one that was not to be set and is, is an error too', async () => {
  const asked = await askedOptions([await fragment('base.config', '# CONFIG_MODULES is not set\n')]);
  expect(() => verifyConfig('CONFIG_MODULES=y\n', asked)).toThrow('CONFIG_MODULES=n');
});

test('debug fragments belong to the debug flavour, the user’s come last', async () => {
  const { fragments } = kernelConfigDirectory(packageRoot);
  const names = async (flavour: 'release' | 'debug') =>
    (await fragmentsFor(fragments, { flavour, fragments: ['/home/me/mine.config'] })).map((file) =>
      basename(file),
    );
  const [release, debug] = [await names('release'), await names('debug')];
  expect(release.filter((name) => name.startsWith('debug-'))).toEqual([]);
  expect(debug).toEqual(expect.arrayContaining([...release, 'debug-kasan.config', 'debug-lockdep.config']));
  expect(release.at(-1)).toBe('mine.config');
  expect(debug.at(-1)).toBe('mine.config');
});
