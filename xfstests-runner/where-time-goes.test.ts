// SPDX-License-Identifier: BSD-3-Clause

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { noProvenance } from '../lab/test-run/testing/provenance.ts';
import { countOutcomes, type RunReport } from '../lab/test-run/verdict.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { recordPhase } from './phases.ts';
import { timeUseText, whereTimeGoes } from './where-time-goes.ts';

const tests: RunReport['tests'] = [
  { name: 'generic/001', status: 'passed', seconds: 30, reason: '' },
  { name: 'generic/002', status: 'failed', seconds: 50, reason: 'output mismatch' },
  { name: 'generic/003', status: 'notrun', seconds: 2, reason: 'no' },
];

const report: RunReport = {
  run: 'a-run',
  verdict: 'failed',
  counts: countOutcomes(tests),
  tests,
  missing: [],
  problems: [],
  events: [],
  fileSystem: 'zpmfs',
  seconds: 60,
  started: '2026-01-01T00:00:00.000Z',
  shards: 2,
  provenance: noProvenance,
};

test('a run of two shards: phases added up, calls of both guests, and the rest', async () => {
  const directory = await scratchDirectory();
  recordPhase(directory, { phase: 'boot', shard: 'shard1', seconds: 10 });
  for (const shard of ['shard1', 'shard2']) {
    recordPhase(directory, { phase: 'prepare', shard, seconds: 3 });
    recordPhase(directory, { phase: 'exec', shard, seconds: 0.005 });
    recordPhase(directory, { phase: 'check', shard, seconds: 45 });
    recordPhase(directory, { phase: 'start', shard, seconds: 1.5 });
    recordPhase(directory, { phase: 'end', shard, seconds: 0.5 });
    recordPhase(directory, { phase: 'mount', shard, seconds: 0.25 });
  }
  writeFileSync(
    join(directory, 'time-shard1.1.log'),
    'mkfs 2000000 32700 generic/001\nfsck 1500000 32 generic/001\n',
  );
  writeFileSync(
    join(directory, 'time-shard2.1.log'),
    'mkfs 4000000 500 generic/002\nmount 500000 600 generic/002\nhalf a li',
  );
  const use = await whereTimeGoes(directory, report);
  expect(use).toMatchObject({
    boot: 10,
    prepare: 6,
    check: 90,
    calls: {
      mkfs: { count: 2, seconds: 6 },
      fsck: { count: 1, seconds: 1.5 },
      mount: { count: 1, seconds: 0.5 },
    },
    bodies: { count: 2, seconds: 72 },
    notrun: { count: 1, seconds: 2 },
    start: 3,
    end: 1,
    fetch: 0.5,
    between: 4,
    handOuts: { calls: 2, seconds: 10.5, secondsATest: 3.5, medianTest: 50 },
    // The pids of the first guest started anew in between.
    processes: 100 + 100,
    secondsAProcess: 0.005,
  });
  if (use === undefined) return;
  const text = timeUseText(use);
  expect(text).toMatch(/making file systems \(mkfs\) +6\.0 s +6 % {2}2 × 3\.00 s/);
  expect(text).toContain(
    'Handing out: 2 calls of check, 10.5 s around their tests: 3.50 s a test, 7 % of the median test (50.0 s).',
  );
  expect(text).toContain('200 processes were started; at 5.0 ms for the start of a small one that is 1 s');
  expect(text.indexOf('generic/002')).toBeLessThan(text.indexOf('generic/001'));
});

test('a run of a lab that did not keep the start and end of check apart', async () => {
  const directory = await scratchDirectory();
  recordPhase(directory, { phase: 'check', shard: '', seconds: 90 });
  const use = await whereTimeGoes(directory, report);
  expect(use).toMatchObject({ between: 8, start: 0, end: 0 });
  expect(use?.handOuts).toBeUndefined();
  expect(use && timeUseText(use)).not.toContain('Handing out');
});

test('a run that kept no times says nothing rather than zeros', async () => {
  expect(await whereTimeGoes(await scratchDirectory(), report)).toBeUndefined();
});
