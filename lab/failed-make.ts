// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LabContext } from './context.ts';
import { CommandFailedError, LabError } from './errors.ts';

/**
 * A make that failed, told by the compiler's first error. Its log, which goes with the half-made artefact, is kept as
 * `name` among the lab's logs. Any other error, a full disk above all, is given back as it is.
 */
export async function failedMake(
  error: unknown,
  made: { readonly what: string; readonly logFile: string; readonly name: string },
  context: LabContext,
): Promise<unknown> {
  if (!(error instanceof CommandFailedError) || /No space left on device/.test(error.outputTail))
    return error;
  const log = await readFile(made.logFile, 'utf8').catch(() => '');
  const kept = join(context.stateDir, 'logs', made.name);
  await mkdir(join(context.stateDir, 'logs'), { recursive: true });
  await writeFile(kept, log);
  const first = /^.*(?:\berror: |undefined reference|\*\*\* ).*$/m.exec(log)?.[0] ?? error.message;
  return new LabError(`${made.what} does not build: ${first.trim()}`, {
    hint: `All of it is in ${kept}.`,
    cause: error,
  });
}
