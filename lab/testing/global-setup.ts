// SPDX-License-Identifier: BSD-3-Clause

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { abandonedTestRuns, closeTestRun, endTestRun, openTestRun, testLabsVariable } from './test-run.ts';

/**
 * Around all integration tests: whatever ends vitest, no VM of its tests stays. Ctrl-C leaves it no time for hooks, so that another
 * process ends what runs; what a kill left behind, the next run ends.
 */
export default async function setup(): Promise<() => Promise<void>> {
  for (const directory of abandonedTestRuns()) {
    process.stdout.write('Ending what an earlier run of the tests had left.\n');
    await endTestRun(directory);
  }
  const directory = openTestRun();
  process.env[testLabsVariable] = directory;
  const atExit = (): void => {
    const { [testLabsVariable]: _, ...env } = process.env;
    process.stdout.write('Ending the labs of the tests.\n');
    // Out of reach of a Ctrl-C that is pressed again.
    const command = ['setsid', process.execPath, join(import.meta.dirname, 'end-test-run.ts'), directory];
    spawnSync(command[0], command.slice(1), { env, stdio: 'inherit' });
  };
  const hungUp = (): never => process.exit(129);
  process.once('exit', atExit);
  process.once('SIGHUP', hungUp);
  return async () => {
    process.off('SIGHUP', hungUp);
    process.off('exit', atExit);
    delete process.env[testLabsVariable];
    closeTestRun(directory);
  };
}
