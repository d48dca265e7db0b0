// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { runOwnCli } from '../lab/testing/own-cli.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';

test.each([
  [['--shards', '2'], '--shards goes with --engine swarm'],
  [['--engine', 'swarm', '--keep'], '--keep: the VMs of tasks end with their run.'],
  [['--only', 'gti'], "There is no workload 'gti'."],
])('workloads %j is answered in a sentence, exit code 2', async (words, message) => {
  const { code, stderr } = await runOwnCli(['workloads', ...words], { directory: await scratchDirectory() });
  expect(stderr).toContain(message);
  expect(code).toBe(2);
});
