// SPDX-License-Identifier: BSD-3-Clause

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { packageRoot } from '../paths.ts';
import { scratchDirectory } from './scratch.ts';
import { endTestRun, testLabsVariable } from './test-run.ts';

/** A run of vitest, as a terminal starts it: the leader of a process group. */
function startRun(temporary: string, ...more: string[]): ChildProcess {
  const { [testLabsVariable]: _, ...env } = process.env;
  const vitest = join(packageRoot, 'node_modules/vitest/vitest.mjs');
  const config = join(import.meta.dirname, 'waiting-run', 'vitest.config.ts');
  return spawn(process.execPath, [vitest, 'run', '--config', config, ...more], {
    env: { ...env, TMPDIR: temporary },
    detached: true,
    stdio: 'ignore',
  });
}

/** Ends what a failure of this very test would leave. */
async function directoryOfRuns(): Promise<string> {
  const temporary = await scratchDirectory();
  onTestFinished(async () => {
    for (const name of await runsIn(temporary)) await endTestRun(join(temporary, name));
  });
  return temporary;
}

async function runsIn(temporary: string): Promise<string[]> {
  return (await readdir(temporary)).filter((name) => name.startsWith('zufs-labs-'));
}

/** Command lines of what runs for the runs in a directory. */
function programs(temporary: string): string[] {
  const listing = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
  return listing.split('\n').filter((line) => line.includes(temporary));
}

async function untilGuestBoots(temporary: string): Promise<void> {
  await vi.waitUntil(() => programs(temporary).some((line) => line.includes('qemu-system')), {
    timeout: 120_000,
    interval: 50,
  });
}

/** As the terminal does it: to everything of the group. */
async function press(run: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const ended = once(run, 'exit');
  process.kill(-(run.pid as number), signal);
  await ended;
}

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  '%s in the middle of a run of the tests: no VM of it stays',
  async (signal) => {
    const temporary = await directoryOfRuns();
    const run = startRun(temporary);
    await untilGuestBoots(temporary);
    await press(run, signal);
    expect(programs(temporary)).toEqual([]);
    expect(await runsIn(temporary)).toEqual([]);
  },
);

test('what a run left behind that was killed outright, the next one ends', async () => {
  const temporary = await directoryOfRuns();
  const run = startRun(temporary);
  await untilGuestBoots(temporary);
  await press(run, 'SIGKILL');
  expect(programs(temporary)).not.toEqual([]);
  await once(startRun(temporary, '--testNamePattern', 'none of this name'), 'exit');
  expect(programs(temporary)).toEqual([]);
  expect(await runsIn(temporary)).toEqual([]);
});
