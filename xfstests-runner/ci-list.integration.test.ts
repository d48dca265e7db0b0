// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import type { RunReport } from '../lab/test-run/verdict.ts';
import { TestLabs } from '../lab/testing/test-lab.ts';
import { whyNoTree } from './testing/why-no-tree.ts';

/** What CI can afford, on two cores under emulation. */
const budgetSeconds = 20 * 60;

test('the fixed list of CI passes on zpmfs, every test of it, in two VMs and within 20 minutes', async (context) => {
  await using labs = await TestLabs.create();
  const noTree = await whyNoTree(labs);
  if (noTree !== undefined) return context.skip(noTree);
  const { code, stdout, stderr } = await labs.run(
    ...['--json', 'xfstests', '--list', 'ci', '--shards', '2'],
    // As docs/ci.md has it for a machine of two CPUs.
    ...['vm.cpus=1', 'vm.nodes=1', 'vm.pmemSize=2G'].flatMap((setting) => ['--set', setting]),
  );
  if (stdout.length === 0) throw new Error(`no report: ${stderr}`);
  const report = JSON.parse(stdout.toString()) as RunReport;
  process.stdout.write(`${report.counts.passed} of the list of CI passed in ${report.seconds} s\n`);
  expect(report.tests.filter(({ status }) => status !== 'passed')).toEqual([]);
  expect(report.counts.passed).toBeGreaterThanOrEqual(120);
  expect([report.fileSystem, report.shards, report.verdict, code]).toEqual(['zpmfs', 2, 'passed', 0]);
  expect(report.seconds).toBeLessThan(budgetSeconds);
  // Longer than the budget, so that what took too long is told.
}, 3_600_000);
