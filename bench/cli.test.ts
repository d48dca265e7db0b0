// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runOwnCli } from '../lab/testing/own-cli.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { type BenchReport, makeReport } from './report/results.ts';
import { noFacts } from './testing/facts.ts';

function reportOf(id: string, rounds: readonly number[]): BenchReport {
  const latencyUs = { mean: 10, p50: 9, p99: 20, p999: 30 };
  const cell = { fs: 'tmpfs', workload: 'create', threads: 1 };
  return makeReport({
    run: { ...noFacts, id },
    cells: [cell],
    samples: rounds.map((opsPerSec, at) => ({
      ...cell,
      round: at + 1,
      opsPerSec,
      latencyUs,
      latencies: [],
      served: [],
    })),
    failures: [],
    ratios: [],
    workloads: new Map(),
  });
}

test('bench compare and bench report, of a directory or of a file; figures do not decide the exit code', async () => {
  const directory = await scratchDirectory();
  const before = join(directory, 'before');
  await mkdir(before);
  await writeFile(join(before, 'bench.json'), JSON.stringify(reportOf('a', [100, 101, 102])));
  const after = join(directory, 'after.json');
  await writeFile(after, JSON.stringify(reportOf('b', [50, 51, 52])));

  const compared = await runOwnCli(['bench', 'compare', before, after], { directory });
  expect(compared.code).toBe(0);
  expect(compared.stdout).toMatch(/^b against a:\n[\s\S]*tmpfs +create +1 +101 +51\.0 +-50 % +-\n/);
  const shown = await runOwnCli(['--json', 'bench', 'report', before], { directory });
  expect(JSON.parse(shown.stdout)).toMatchObject({
    run: { id: 'a' },
    results: [
      {
        fs: 'tmpfs',
        workload: 'create',
        threads: 1,
        opsPerSec: 101,
        latencyUs: { mean: 10, p50: 9, p99: 20, p999: 30 },
      },
    ],
  });
});

test.each([
  [['bench', 'compare', '/nowhere/a', '/nowhere/b'], "There is no benchmark run '/nowhere/a'."],
  [['bench', '--matrix', 'shrot'], 'shrot cannot be read'],
  [['bench', '--resume', '/nowhere'], '/nowhere holds no benchmark run that could be resumed.'],
  [
    ['bench', '--resume', '--matrix', 'smoke'],
    "option '--matrix <name>' cannot be used with option '--resume",
  ],
  [['bench', '--resume', '--repeat', '2'], "option '--repeat <n>' cannot be used with option '--resume"],
  [
    ['bench', '--resume', '--engine', 'swarm'],
    '--resume goes on with a run of this machine: it takes no --engine swarm.',
  ],
])('%j is answered in a sentence, exit code 2', async (words, message) => {
  const { code, stderr } = await runOwnCli(words, { directory: await scratchDirectory() });
  expect(stderr).toContain(message);
  expect(code).toBe(2);
});
