// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from './paths.ts';

/** Files that have no place for a comment; JSON, what xfstests compares byte for byte, and changes to files that say theirs. */
const withoutComments =
  /^(package(-lock)?\.json|biome\.json|LICENSES\/.*|xfstests-runner\/tests\/runner\/\d+\.out|.*\.patch)$/;

/** Both sides are written from the description of the interface, and its header is generated from it. */
const interfaceFiles = ['server/abi/zufs-abi.yaml', 'kernel-config/tree/include/uapi/linux/zufs_api.h'];

/** The licence of a file, by where it lies. */
function licenceOf(file: string): string {
  if (interfaceFiles.includes(file)) return '(GPL-2.0-only WITH Linux-syscall-note) OR BSD-3-Clause';
  // TypeScript beside the kernel's parts drives them, and never becomes one.
  return file.startsWith('kernel-config/') && !file.endsWith('.ts') ? 'GPL-2.0-only' : 'BSD-3-Clause';
}

const files = execFileSync('git', ['ls-files', '-z'], { cwd: packageRoot, encoding: 'utf8' })
  .split('\0')
  .filter((file) => file !== '' && !withoutComments.test(file) && existsSync(join(packageRoot, file)));

test('every file says its licence', () => {
  const silent = files.filter(
    (file) => !readFileSync(join(packageRoot, file), 'utf8').includes('SPDX-License-Identifier:'),
  );
  expect(silent).toEqual([]);
});

test('what becomes part of the kernel is GPL-2.0-only, the interface header also BSD-3-Clause, all else BSD-3-Clause', () => {
  const others = files.flatMap((file) => {
    const [, licence = ''] =
      /SPDX-License-Identifier:\s*(.*?)\s*(?:\*\/|-->)?$/m.exec(
        readFileSync(join(packageRoot, file), 'utf8'),
      ) ?? [];
    return [licenceOf(file), `(${licenceOf(file)})`].includes(licence) ? [] : [`${file}: ${licence}`];
  });
  expect(others).toEqual([]);
});
