// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { packageRoot } from '../paths.ts';
import { formatIdentity, identify, isAlive, parseIdentity } from '../runtime/process-identity.ts';

/**
 * Where the labs of a test run keep their state. Every process that the run starts, its workers, the command lines and what those
 * start, inherits the variable: by it they are found when the run itself is gone.
 */
export const testLabsVariable = 'ZUFS_TEST_LABS';

const prefix = 'zufs-labs-';
const ownerFile = 'owner';
const endMs = 30_000;

/** A directory for the labs of this run, which belongs to this process. */
export function openTestRun(): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), prefix)));
  const self = identify(process.pid);
  if (self === undefined) throw new Error('This process is not in /proc.');
  writeFileSync(join(directory, ownerFile), formatIdentity(self));
  return directory;
}

/** Directories of runs whose process is gone: one that was killed could end nothing. */
export function abandonedTestRuns(): string[] {
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith(prefix))
    .map((name) => join(tmpdir(), name))
    .filter((directory) => {
      try {
        const owner = parseIdentity(readFileSync(join(directory, ownerFile), 'utf8'));
        return owner === undefined || !isAlive(owner);
      } catch {
        // Of another user, or gone since.
        return false;
      }
    });
}

/** End all that a run which is gone has left: its workers and command lines, and the VMs that these had up. */
export async function endTestRun(directory: string): Promise<void> {
  const deadline = performance.now() + endMs;
  while (processesOf(directory).length > 0 && performance.now() < deadline) {
    // Again and again: one that is told in the middle of a start may have started another.
    for (const pid of processesOf(directory)) signal(pid, 'SIGTERM');
    await sleep(500);
  }
  for (const pid of processesOf(directory)) signal(pid, 'SIGKILL');
  closeTestRun(directory);
}

/** End labs that are still on record, in containers too, and remove the directory. */
export function closeTestRun(directory: string): void {
  for (const stateHome of stateHomes(directory)) {
    execFileSync(process.execPath, [join(packageRoot, 'lab/bin/zufs-lab.js'), 'down', '--all'], {
      env: { ...process.env, XDG_STATE_HOME: stateHome },
      stdio: 'ignore',
    });
  }
  rmSync(directory, { recursive: true, force: true });
}

function stateHomes(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(directory, name));
}

/** Processes, other than this one, that were started with the run's variable in their environment. */
function processesOf(directory: string): number[] {
  const entry = `${testLabsVariable}=${directory}`;
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(entry);
      } catch {
        return false;
      }
    });
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}
