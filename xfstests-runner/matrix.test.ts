// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { InterruptedError, LabError } from '../lab/errors.ts';
import { noProvenance } from '../lab/test-run/testing/provenance.ts';
import { countOutcomes, judge, type RunReport, type TestStatus } from '../lab/test-run/verdict.ts';
import { type FakeContext, fakeContext } from '../lab/testing/fake-context.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { columnLabels, findMatrix, type MatrixCell, matrixCells, type RunCell, runMatrix } from './matrix.ts';
import { matrixPage } from './report/matrix-page.ts';
import { matrixText } from './report/matrix-summary.ts';

const tests = ['generic/001', 'generic/002'];
const how = { engine: 'local', shards: 2 } as const;
let context: FakeContext;
let directory: string;
/** Calls of `runCell`: file system, and what it was given to do. */
let calls: (readonly [string, unknown])[];

beforeEach(async () => {
  const root = await scratchDirectory();
  context = fakeContext(root);
  directory = join(root, 'a-matrix');
  calls = [];
  await mkdir(directory);
});

function cells(...fileSystems: readonly string[]): MatrixCell[] {
  return matrixCells({ kernels: ['debian'], flavours: ['release'], fileSystems });
}

async function plan(planned: readonly MatrixCell[]): Promise<void> {
  await writeFile(join(directory, 'matrix.json'), JSON.stringify({ tests, cells: planned, how }));
}

function report(fileSystem: string, statuses: readonly TestStatus[]): RunReport {
  const outcomes = statuses.map((status, at) => ({
    name: tests[at],
    status,
    seconds: 1,
    reason: status === 'passed' ? '' : `because <${status}>`,
  }));
  const missing = tests.slice(statuses.length);
  return {
    run: `run-${fileSystem}`,
    verdict: judge(outcomes, missing, []),
    counts: countOutcomes(outcomes),
    tests: outcomes,
    missing,
    problems: [],
    events: [],
    fileSystem,
    seconds: 2,
    started: '2026-01-02T03:04:05.678Z',
    shards: 1,
    provenance: noProvenance,
  };
}

/** What is thrown where Node itself waits for something, in a boot. */
const aborted = new DOMException('The operation was aborted', 'AbortError');

/** A run that ends with these verdicts, or with this error; its directory is there, with a plan, before. */
function runCell(ends: Readonly<Record<string, readonly TestStatus[] | Error>>): RunCell {
  return async ({ cell: { fileSystem }, how: given, what, onDirectory }) => {
    calls.push([fileSystem, what]);
    expect(given).toEqual(how);
    const end = ends[fileSystem];
    const run = join(directory, `run-${fileSystem}`);
    if (end instanceof Error && end !== aborted) throw end;
    await mkdir(run, { recursive: true });
    await writeFile(join(run, 'plan.json'), '{}');
    await onDirectory(run);
    if (end instanceof Error) {
      context.abort.abort(end);
      throw end;
    }
    const result = report(fileSystem, end);
    await writeFile(join(run, 'report.json'), JSON.stringify(result));
    return { report: result, directory: run };
  };
}

const written = async (name: string) => await readFile(join(directory, name), 'utf8');

test('every combination, file systems fastest; a column is called by what tells it from the others', () => {
  const all = matrixCells({
    kernels: ['debian', '/home/me/linux'],
    flavours: ['release', 'debug'],
    fileSystems: ['zpmfs', 'ext4-dax'],
  });
  expect(columnLabels(all)).toEqual([
    'zpmfs, release, debian',
    'ext4-dax, release, debian',
    'zpmfs, debug, debian',
    'ext4-dax, debug, debian',
    'zpmfs, release, linux',
    'ext4-dax, release, linux',
    'zpmfs, debug, linux',
    'ext4-dax, debug, linux',
  ]);
  expect(columnLabels(cells('zpmfs', 'tmpfs', 'zpmfs'))).toEqual(['zpmfs', 'tmpfs']);
  const twoTrees = { flavours: ['release'], fileSystems: ['zpmfs'] } as const;
  expect(columnLabels(matrixCells({ ...twoTrees, kernels: ['/a/linux', '/b/linux'] }))).toEqual([
    '/a/linux',
    '/b/linux',
  ]);
});

test('one report with a column for each cell, and the worst of the verdicts', async () => {
  await plan(cells('zpmfs', 'ext4-dax'));
  const run = runCell({ zpmfs: ['passed', 'passed'], 'ext4-dax': ['passed', 'failed'] });
  const result = await runMatrix(directory, run, context);
  expect(result.verdict).toBe('failed');
  expect(result.columns.map(({ label, report }) => [label, report.verdict])).toEqual([
    ['zpmfs', 'passed'],
    ['ext4-dax', 'failed'],
  ]);
  expect(JSON.parse(await written('report.json'))).toEqual(result);
  const summary = await written('summary.md');
  expect(summary).toContain('|  | zpmfs | ext4-dax |');
  expect(summary).toContain('- ext4-dax, generic/002: failed: because &lt;failed>');
  expect(matrixText(result, directory)).toBe(
    [
      'zpmfs     passed (2 passed, 2 s)',
      'ext4-dax  FAILED (1 passed, 1 failed, 2 s)',
      '  generic/002 failed: because <failed>',
      `Details: ${directory}`,
    ].join('\n'),
  );
  const page = matrixPage(result);
  expect(page).toContain('<a href="../../results/run-zpmfs/index.html">zpmfs</a>');
  expect(page).toContain('<tr class="differs"><td>generic/002<td class="passed">1.0 s');
  expect(page).toContain('<td class="failed">failed: because &lt;failed&gt;');
});

test('a cell without a lab says why, and the others are run', async () => {
  await plan(cells('zpmfs', 'ext4-dax'));
  const broken = new LabError('The kernel does not build.', { hint: 'See build.log.' });
  const result = await runMatrix(
    directory,
    runCell({ zpmfs: broken, 'ext4-dax': ['passed', 'passed'] }),
    context,
  );
  expect(result.verdict).toBe('incomplete');
  expect(context.notes).toContain('The kernel does not build. See build.log.');
  const [zpmfs, ext4] = result.columns.map(({ report }) => report);
  expect(zpmfs).toMatchObject({
    verdict: 'incomplete',
    missing: tests,
    problems: ['The kernel does not build. See build.log.'],
  });
  expect(ext4.verdict).toBe('passed');
  expect(await written('summary.md')).toContain('- zpmfs: no run: The kernel does not build. See build.log.');
  expect(await written('index.html')).toContain('<td class="missing">no verdict<td class="passed">1.0 s');
});

test('a fault of the lab itself is not taken for a verdict', async () => {
  await plan(cells('zpmfs', 'ext4-dax'));
  const run = runCell({ zpmfs: new TypeError('undefined is no function') });
  await expect(runMatrix(directory, run, context)).rejects.toThrow(TypeError);
  expect(await written('summary.md')).toContain('- ext4-dax: no run: Not begun.');
});

test('interrupted, it begins nothing more; what is resumed is what had no verdict', async () => {
  await plan(cells('zpmfs', 'ext4-dax', 'tmpfs'));
  const run = runCell({ zpmfs: ['passed', 'failed'], 'ext4-dax': aborted });
  await expect(runMatrix(directory, run, context)).rejects.toThrow(InterruptedError);
  expect(calls).toEqual([
    ['zpmfs', { tests }],
    ['ext4-dax', { tests }],
  ]);
  expect(await written('summary.md')).toContain('- tmpfs: no run: Not begun.');

  context = fakeContext(join(directory, 'again'));
  calls = [];
  const rest = runCell({ 'ext4-dax': ['passed', 'passed'], tmpfs: ['passed', 'notrun'] });
  const result = await runMatrix(directory, rest, context);
  expect(calls).toEqual([
    ['ext4-dax', { resume: join(directory, 'run-ext4-dax') }],
    ['tmpfs', { tests }],
  ]);
  expect(result.columns.map(({ report }) => report.verdict)).toEqual(['failed', 'passed', 'passed']);
});

test('a matrix is found by its path; what is none is not one', async () => {
  expect(await findMatrix(context, directory)).toBeUndefined();
  await plan(cells('zpmfs'));
  expect(await findMatrix(context, directory)).toBe(directory);
  expect(await findMatrix(context, 'latest')).toBeUndefined();
});
