// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TestOutcome } from '../lab/test-run/verdict.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { execChecked, guestScript } from './guest.ts';

/**
 * Have a guest look for what leaked after its last scan (shell/leaks.sh). What kmemleak says goes to TEST.kmemleak in `directory`;
 * returned is the test before it with its new verdict, undefined when there is no leak.
 */
export async function lateLeak(
  vm: Vm,
  directory: string,
  signal: AbortSignal,
): Promise<Pick<TestOutcome, 'name' | 'status' | 'reason'> | undefined> {
  const { stdout } = await execChecked(vm, ['bash', guestScript('leaks-left.sh')], { signal });
  const name = /^Tests since the scan before:.* (\S+)\s*$/m.exec(stdout)?.[1];
  if (name === undefined) return undefined;
  const file = join(directory, `${name}.kmemleak`);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, stdout);
  return { name, status: 'failed', reason: `kmemleak found something after it (see ${name}.kmemleak)` };
}
