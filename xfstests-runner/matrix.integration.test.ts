// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../lab/paths.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { TestLabs } from '../lab/testing/test-lab.ts';
import type { MatrixReport } from './matrix.ts';
import { whyNoTree } from './testing/why-no-tree.ts';

test('two file systems on two kernels, one of which is not there: a column each, in one VM that ends with it', async (context) => {
  await using labs = await TestLabs.create();
  const noTree = await whyNoTree(labs);
  if (noTree !== undefined) return context.skip(noTree);
  await labs.build();
  const nowhere = join(await scratchDirectory(), 'nowhere');
  const { code, stdout, stderr } = await labs.run(
    ...['--json', 'xfstests', '--tests', 'runner/001'],
    ...['--fs', 'ext4-dax,tmpfs', '--kernel', `debian,${nowhere}`],
  );
  if (stdout.length === 0) throw new Error(`no report: ${stderr}`);
  const { matrix, verdict, columns } = JSON.parse(stdout.toString()) as MatrixReport;
  expect([code, verdict]).toEqual([2, 'incomplete']);
  expect(
    columns.map(({ label, report }) => [label, report.verdict, report.tests.map(({ status }) => status)]),
  ).toEqual([
    ['ext4-dax, debian', 'passed', ['passed']],
    ['tmpfs, debian', 'passed', ['passed']],
    ['ext4-dax, nowhere', 'incomplete', []],
    ['tmpfs, nowhere', 'incomplete', []],
  ]);
  expect(columns[3].report.problems.join()).toContain(nowhere);
  const page = await readFile(join(packageRoot, 'build/matrix', matrix, 'index.html'), 'utf8');
  expect(page).toContain(`<a href="../../results/${columns[0].report.run}/index.html">ext4-dax, debian</a>`);
  // Both cells of one kernel ran in the same VM.
  expect(stderr.toString().match(/Guest ready/g)).toHaveLength(1);
  expect(labs.runningPrograms()).toEqual([]);
}, 3_600_000);
