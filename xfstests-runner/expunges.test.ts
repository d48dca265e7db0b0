// SPDX-License-Identifier: BSD-3-Clause

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../lab/paths.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { applicable, expungedOutcome, ownExpunges, readExpunges } from './expunges.ts';

async function fileOf(text: string): Promise<string> {
  const file = join(await scratchDirectory(), 'expunges.yaml');
  await writeFile(file, text);
  return file;
}

const on = { fs: 'zpmfs', flavour: 'release', accelerator: 'tcg', kernel: '6.12.117' };

test('an expunge applies where its conditions hold, and says why the test was not run', async () => {
  const file = await fileOf(`expunges:
  - test: generic/001
    reason: needs more memory than the guest has
    link: https://example.org/1
  - test: generic/002
    reason: emulation is too slow for its timing
    when: { accelerator: kvm }
  - test: generic/003
    reason: a warning that only this kernel gives
    when: { kernel: "6.12", flavour: release }
`);
  const all = applicable(await readExpunges([file]), on);
  expect([...all.keys()]).toEqual(['generic/001', 'generic/003']);
  const [first] = all.values();
  expect(expungedOutcome(first)).toMatchObject({
    status: 'notrun',
    reason: 'expunged: needs more memory than the guest has (https://example.org/1)',
  });
});

test.each([
  ['no reason', '  - test: generic/001\n', /expunges\.yaml:2: expunges\.0\.reason: /],
  [
    'an empty reason',
    '  - test: generic/001\n    reason: "  "\n',
    /expunges\.yaml:3: expunges\.0\.reason: .*a reason/,
  ],
  ['no test', '  - test: all\n    reason: because it is so\n', /:2: expunges\.0\.test: .*a test such as/],
  ['an unknown key', '  - test: generic/001\n    reason: long enough\n    flaky: true\n', /flaky/],
  ['no YAML', '  - [\n', /expunges\.yaml:\d+: /],
])('refused, with file and line: %s', async (_what, entry, message) => {
  await expect(readExpunges([await fileOf(`expunges:\n${entry}`)])).rejects.toThrow(message);
});

test('a file that is not there', async () => {
  await expect(readExpunges(['/nonexistent/expunges.yaml'])).rejects.toThrow(/cannot be read/);
});

test('the lab’s own name a kernel, and hold on every file system of it alone', async () => {
  const own = await readExpunges([ownExpunges(packageRoot)]);
  expect([...applicable(own, on).keys()]).toEqual(['generic/633', 'generic/696', 'generic/697']);
  expect([...applicable(own, { ...on, fs: 'ext4-dax' }).keys()]).toEqual([
    'generic/633',
    'generic/696',
    'generic/697',
  ]);
  expect([...applicable(own, { ...on, kernel: '6.18.1' }).keys()]).toEqual([]);
});
