// SPDX-License-Identifier: BSD-3-Clause

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { packageRoot } from '../paths.ts';
import { scratchDirectory } from './scratch.ts';

/** What the reporter prints after a run of these files. */
async function closing(files: Readonly<Record<string, string>>): Promise<string[]> {
  const root = await scratchDirectory();
  for (const [name, text] of Object.entries(files)) await writeFile(join(root, name), text);
  const vitest = join(packageRoot, 'node_modules', 'vitest', 'vitest.mjs');
  const reporter = join(import.meta.dirname, 'closing-line.ts');
  const options = ['--root', root, '--globals', '--reporter', reporter];
  const { stdout } = await execa(process.execPath, [vitest, 'run', ...options], { reject: false });
  return stdout.split('\n');
}

test('each failure and each skipped test has a line with its reason before the line that counts', async () => {
  const lines = await closing({
    'some.test.js': `
      test('good', () => {});
      test('bad', () => { throw new Error('first line\\nsecond ' + 'x'.repeat(500)); });
      test('not here', (context) => context.skip('there is no kernel'));
      describe('suite', () => { beforeAll(() => { throw new Error('no VM'); }); test('never runs', () => {}); });`,
    'broken.test.js': `throw new Error('does not load');`,
  });
  expect(lines.slice(-6).toSorted()).toEqual([
    '1 passed, 3 failed, 2 skipped',
    'failed: broken.test.js: does not load',
    expect.stringMatching(/^failed: some\.test\.js > bad: first line second x{100,150}…$/),
    'failed: some.test.js > suite: no VM',
    'skipped: not here: there is no kernel',
    'skipped: suite > never runs',
  ]);
  expect(lines.at(-1)).toBe('1 passed, 3 failed, 2 skipped');
});

test('all good: only the line that counts', async () => {
  expect(await closing({ 'some.test.js': `test('good', () => {});` })).toEqual(['1 passed, 0 failed']);
});
