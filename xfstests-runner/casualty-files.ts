// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Casualty } from './attempt.ts';

/** As much of a console is kept at most. */
const consoleCharacters = 1_000_000;

/** Keep the state of the guest and what its console said, beside the other files of the test in the run's `directory`. */
export async function writeCasualty(
  directory: string,
  { test, state }: Casualty,
  consoleLog: string,
): Promise<void> {
  const file = join(directory, test);
  await mkdir(dirname(file), { recursive: true });
  if (state !== '') await writeFile(`${file}.state`, state);
  const console = await readFile(consoleLog, 'utf8').catch(() => '');
  // From the line that check wrote to the kernel's log when it started the test.
  const start = console.lastIndexOf(`run fstests ${test} `);
  await writeFile(`${file}.console`, console.slice(Math.max(start, console.length - consoleCharacters)));
}
