// SPDX-License-Identifier: BSD-3-Clause

import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A directory that goes away with the test. */
export async function scratchDirectory(): Promise<string> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'zufs-lab-test-')));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
