// SPDX-License-Identifier: BSD-3-Clause

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { scratchDirectory } from '../../testing/scratch.ts';
import { Daemon, NoDaemonError } from './daemon.ts';

test('an engine of another test run that uses the same data is left alone', async () => {
  const directory = await scratchDirectory();
  const dataRoot = join(directory, 'data');
  await mkdir(join(dataRoot, 'swarm'), { recursive: true });
  const other = spawn('flock', ['--no-fork', dataRoot, 'sh', '-c', 'echo has it; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void other.kill());
  await once(other.stdout, 'data');
  await expect(Daemon.start({ directory, dataRoot })).rejects.toThrow(
    new NoDaemonError(`an engine of another test run uses ${dataRoot}`),
  );
  expect(await readdir(dataRoot)).toEqual(['swarm']);
}, 20_000);
