// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { type TypicalTimes, typicalTimesSchema } from '../lab/test-run/times.ts';

/** Those of `lists/times.yaml`. */
export async function readTypicalTimes(packageRoot: string): Promise<TypicalTimes> {
  const file = join(packageRoot, 'xfstests-runner', 'lists', 'times.yaml');
  return typicalTimesSchema.parse(parse(await readFile(file, 'utf8')));
}
