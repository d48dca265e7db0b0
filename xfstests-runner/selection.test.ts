// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageRoot } from '../lab/paths.ts';
import { readTestList, selectTests, shortestTests } from './selection.ts';

let tree: string;
beforeAll(async () => {
  tree = await mkdtemp(join(tmpdir(), 'xfstests-selection-'));
  await mkdir(join(tree, 'tests/generic'), { recursive: true });
  await writeFile(
    join(tree, 'tests/generic/group.list'),
    '# made by the build\n\n001 auto quick rw\n002 auto quick  # a remark\n017 auto\n1200 quick\n',
  );
});
afterAll(() => rm(tree, { recursive: true }));

const own = new Map([['runner/001', ['selfcheck']]]);
const nothing = { tests: [], group: '', exclude: [] };

test('a group, in numeric order', async () => {
  expect(await selectTests(tree, { ...nothing, group: 'quick' }, own)).toEqual([
    'generic/001',
    'generic/002',
    'generic/1200',
  ]);
});

test('of a group only what is in an area, too', async () => {
  const selection = { ...nothing, group: 'quick', areas: new Set(['rw', 'acl']) };
  expect(await selectTests(tree, selection, own)).toEqual(['generic/001']);
});

test('the shortest are those that took least when they passed, in numeric order; never one that has not passed', () => {
  const took = new Map([
    ['generic/001', 3],
    ['generic/002', 9],
    ['generic/1200', 1],
  ]);
  const tests = ['generic/001', 'generic/002', 'generic/017', 'generic/1200'];
  const shortest = (count: number) => shortestTests(tests, count, (test) => took.get(test));
  expect(shortest(2)).toEqual(['generic/001', 'generic/1200']);
  expect(() => shortest(4)).toThrow('only 3 have passed on this file system before');
});

test('parts have every test once between them', async () => {
  const parts = [1, 2].map((number) =>
    selectTests(tree, { ...nothing, group: 'quick', part: { number, of: 2 } }, own),
  );
  expect(await Promise.all(parts)).toEqual([['generic/001', 'generic/1200'], ['generic/002']]);
});

test('names and a group together, each once, less what is excluded', async () => {
  const selection = { tests: ['generic/017', 'generic/001'], group: 'quick', exclude: ['generic/002'] };
  expect(await selectTests(tree, selection, own)).toEqual(['generic/001', 'generic/017', 'generic/1200']);
});

test("the runner's own tests by name, never as part of a group", async () => {
  expect(await selectTests(tree, { ...nothing, tests: ['runner/001'] }, own)).toEqual(['runner/001']);
});

test('a name or a group that does not exist is an error, not an empty run', async () => {
  await expect(selectTests(tree, { ...nothing, tests: ['generic/999'] }, own)).rejects.toThrow(
    /generic\/999/,
  );
  await expect(selectTests(tree, { ...nothing, exclude: ['generic/9'] }, own)).rejects.toThrow(/generic\/9/);
  await expect(selectTests(tree, { ...nothing, group: 'quik' }, own)).rejects.toThrow(/quik/);
});

test('the default list has enough tests, each once', async () => {
  const tests = await readTestList(packageRoot, 'lab');
  expect(tests.length).toBeGreaterThanOrEqual(25);
  expect(new Set(tests).size).toBe(tests.length);
});

test('the list of CI: at least 120 tests of upstream, each once', async () => {
  const tests = await readTestList(packageRoot, 'ci');
  expect(new Set(tests).size).toBe(tests.length);
  expect(tests.length).toBeGreaterThanOrEqual(120);
  for (const name of tests) expect(name).toMatch(/^generic\/\d{3}$/);
});
