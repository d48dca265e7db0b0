// SPDX-License-Identifier: BSD-3-Clause

import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { packageRoot } from './paths.ts';

/** `make lab` with another program in place of zufs-lab, and nothing to be installed before it. */
function makeLab(exitCode: number): { readonly status: number | null; readonly lines: string[] } {
  const command = ['-s', '-o', 'node_modules/.package-lock.json', 'lab', `ZUFS_LAB=sh -c 'exit ${exitCode}'`];
  const { status, stdout } = spawnSync('make', command, { cwd: packageRoot, encoding: 'utf8' });
  return { status, lines: stdout.split('\n').filter((line) => line !== '') };
}

test.each([
  [0, 0, []],
  [1, 2, ['make lab: a test failed (exit code 1)']],
  [2, 2, ['make lab: the lab is broken, so there is no verdict (exit code 2)']],
  [130, 2, ['make lab: interrupted (exit code 130)']],
])('make lab, when zufs-lab gives %i, exits with %i, and says which it was', (code, status, lines) => {
  expect(makeLab(code)).toEqual({ status, lines });
});
