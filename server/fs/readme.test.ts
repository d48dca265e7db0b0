// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

const here = fileURLToPath(new URL('.', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'zus-readme-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** From where the pieces are compiled to a file beside this one. */
function to(path: string): string {
  return relative(directory, join(here, path));
}

/** The pieces of code in README.md, with imports that work from anywhere. */
function pieces(): string[] {
  const text = readFileSync(join(here, 'README.md'), 'utf8');
  return [...text.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) =>
    code.replaceAll("from '../", `from '${to('..')}/`).replaceAll("from './", `from '${to('.')}/`),
  );
}

it('the file system in README.md compiles and does what the page says', { timeout: 60_000 }, () => {
  const [fileSystem, test] = pieces();
  const harness = [
    "import { strictEqual, deepStrictEqual } from 'node:assert';",
    `import { FakeKernel } from '${to('../zt/fake-kernel.ts')}';`,
    "import { countfs } from './countfs.ts';",
    'const expect = (value: unknown) => ({',
    '  toBe: (other: unknown) => strictEqual(value, other),',
    '  toEqual: (other: unknown) => deepStrictEqual(value, other),',
    '});',
    test,
    "process.stdout.write('all as the page says\\n');",
  ];
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ type: 'module' }));
  writeFileSync(join(directory, 'countfs.ts'), fileSystem);
  writeFileSync(join(directory, 'test.ts'), harness.join('\n'));
  const root = join(here, '../..');
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: { typeRoots: [join(root, 'node_modules/@types')] },
  };
  writeFileSync(
    join(directory, 'tsconfig.json'),
    JSON.stringify({ ...config, include: [join(directory, '*.ts')], exclude: [] }),
  );
  try {
    execFileSync(join(root, 'node_modules/.bin/tsc'), ['--noEmit', '-p', directory], { encoding: 'utf8' });
  } catch (error) {
    throw new Error(
      `it does not compile: ${error instanceof Error && 'stdout' in error ? error.stdout : error}`,
    );
  }
  const output = execFileSync(process.execPath, [join(directory, 'test.ts')], { encoding: 'utf8' });
  expect(output).toBe('all as the page says\n');
});
