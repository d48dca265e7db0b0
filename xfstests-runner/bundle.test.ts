// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { packageRoot } from '../lab/paths.ts';
import { fakeContext } from '../lab/testing/fake-context.ts';
import { makeBundle, ownTests } from './bundle.ts';

let root: string;
let tree: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'xfstests-bundle-'));
  tree = join(root, 'tree');
  for (const [name, text] of Object.entries({
    check: '#!/bin/bash\n',
    'common/rc': '_of_upstream() { echo upstream; }\n',
    'common/attr': 'true\n',
    'common/quota': 'true\n',
    'common/report': 'true\n',
    'common/filter': 'true\n',
    'src/tool': 'ELF',
    'src/tool.c': 'int main;',
    'src/tool.o': 'object',
    'ltp/fsx': 'ELF',
    'tests/generic/001': '#!/bin/bash\n',
    'tests/xfs/001': '#!/bin/bash\n',
    'doc/README': 'text',
  })) {
    await mkdir(dirname(join(tree, name)), { recursive: true });
    await writeFile(join(tree, name), text, { mode: name === 'check' ? 0o755 : 0o644 });
  }
  await symlink('tool', join(tree, 'src/alias'));
});
afterEach(() => rm(root, { recursive: true }));

/** Make the bundle and unpack it, as the guest does. */
async function unpacked(): Promise<{ readonly directory: string; readonly names: string[] }> {
  const context = fakeContext(root);
  const bundle = await makeBundle(tree, packageRoot, context.cache, context);
  const directory = join(root, 'unpacked');
  await mkdir(directory);
  execFileSync('tar', ['-xzf', bundle.file, '-C', directory]);
  const names = execFileSync('tar', ['-tzf', bundle.file], { encoding: 'utf8' }).trim().split('\n');
  return { directory, names };
}

test('carries what tests need and nothing of the build', async () => {
  const { names } = await unpacked();
  expect(names).toEqual(
    expect.arrayContaining([
      'check',
      'src/tool',
      'src/alias',
      'ltp/fsx',
      'tests/generic/001',
      'tests/runner/001',
    ]),
  );
  expect(names).not.toEqual(expect.arrayContaining(['src/tool.c']));
  expect(names.filter((name) => /\.(c|o)$|^doc|^tests\/xfs/.test(name))).toEqual([]);
});

test('a check whose loop is open to more tests is known by it', async () => {
  const context = fakeContext(root);
  const refills = async () => (await makeBundle(tree, packageRoot, context.cache, context)).refills;
  expect(await refills()).toBe(false);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is bash.
  const loop = '\tfor ((ix = 0; ix < ${#_list[*]}; !${#loop_status[*]} && ix++)); do\n';
  await writeFile(join(tree, 'check'), `#!/bin/bash\n${loop}`);
  expect(await refills()).toBe(true);
  await writeFile(join(tree, 'check'), '#!/bin/bash\nfor seq in $list; do\n');
  expect(await refills()).toBe(false);
});

test('our functions come after those of upstream; the tree itself is untouched', async () => {
  const { directory } = await unpacked();
  for (const [name, last] of [
    ['common/rc', '. ./common/zufs-lab-timing'],
    ['common/attr', '. ./common/zufs-lab'],
    ['common/quota', '. ./common/zufs-lab'],
    ['common/report', '. ./common/zufs-lab-more'],
  ]) {
    expect((await readFile(join(directory, name), 'utf8')).trim().split('\n').at(-1)).toBe(last);
    execFileSync('test', ['-r', last.slice(2)], { cwd: directory });
  }
  expect(await readFile(join(directory, 'common/filter'), 'utf8')).toBe('true\n');
  expect(await readFile(join(tree, 'common/rc'), 'utf8')).not.toContain('zufs-lab');
});

test('the same tree gives the same bundle; another file another', async () => {
  const context = fakeContext(root);
  const make = () => makeBundle(tree, packageRoot, context.cache, context);
  const first = await make();
  expect((await make()).key).toBe(first.key);
  await writeFile(join(tree, 'src/tool'), 'ELF, newer');
  expect((await make()).key).not.toBe(first.key);
});

test('own tests are listed with their groups, and each has an expected output', async () => {
  const own = await ownTests(packageRoot);
  expect(own.size).toBeGreaterThanOrEqual(5);
  for (const [name, groups] of own) {
    expect(groups).toContain('selfcheck');
    const number = name.replace('runner/', '');
    const expected = await readFile(
      join(packageRoot, 'xfstests-runner/tests/runner', `${number}.out`),
      'utf8',
    );
    expect(expected.split('\n')[0]).toBe(`QA output created by ${number}`);
  }
});
