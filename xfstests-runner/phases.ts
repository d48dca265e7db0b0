// SPDX-License-Identifier: BSD-3-Clause

import { appendFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const phaseSchema = z.object({
  /**
   * `boot`: a VM came up for the run. `prepare`: the guest got its tests and file systems. `check`: xfstests ran; of that, `start`
   * before its first test, and `end` after its last verdict. `fetch`: results came to the host. `mount`: the test file system was
   * mounted again. `exec`: what starting one small program takes in the guest.
   */
  phase: z.enum(['boot', 'prepare', 'check', 'start', 'end', 'fetch', 'mount', 'exec']),
  /** Which VM; '' for the only one. */
  shard: z.string(),
  seconds: z.number(),
});

export type Phase = Readonly<z.infer<typeof phaseSchema>>;

const fileName = 'phases.jsonl';

/** Keep in a run's directory how long a part of it took. */
export function recordPhase(directory: string, phase: Phase): void {
  const seconds = Math.round(phase.seconds * 1e6) / 1e6;
  appendFileSync(join(directory, fileName), `${JSON.stringify({ ...phase, seconds })}\n`);
}

/** Do something and keep how long it took, also when it fails. */
export async function timed<T>(
  directory: string,
  phase: Omit<Phase, 'seconds'>,
  body: () => Promise<T>,
): Promise<T> {
  const from = performance.now();
  try {
    return await body();
  } finally {
    recordPhase(directory, { ...phase, seconds: (performance.now() - from) / 1000 });
  }
}

/** Empty for a run of an older lab. A run that was killed may have left half a line. */
export async function readPhases(directory: string): Promise<readonly Phase[]> {
  const text = await readFile(join(directory, fileName), 'utf8').catch(() => '');
  return text.split('\n').flatMap((line) => {
    try {
      return [phaseSchema.parse(JSON.parse(line))];
    } catch {
      return [];
    }
  });
}
