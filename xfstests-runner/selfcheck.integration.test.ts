// SPDX-License-Identifier: BSD-3-Clause

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { defaultCacheRoot } from '../lab/paths.ts';
import { HostRuntime } from '../lab/runtime/host.ts';
import { testLabContext } from '../lab/testing/lab-context.ts';
import { TestLabs } from '../lab/testing/test-lab.ts';
import { NoTreeError, obtainTree } from './source.ts';
import type { RunReport } from './verdict.ts';

// The runner's own tests in a VM of their own, on ext4 with DAX, which needs no server: what a test does that passes, fails,
// does not apply, hangs, or takes the guest with it, and what the command makes of it.

const onDax = ['xfstests', '--fs', 'ext4-dax'];

let labs: TestLabs;
let noTree: string | undefined;

async function run(...tests: string[]): Promise<{ readonly exitCode: number; readonly report: RunReport }> {
  const { code, stdout, stderr } = await labs.run(
    '--json',
    ...onDax,
    '--timeout',
    '30',
    '--tests',
    tests.join(),
  );
  if (stdout.length === 0) throw new Error(`no report: ${stderr}`);
  return { exitCode: code ?? -1, report: JSON.parse(stdout.toString()) as RunReport };
}

/** Why there is no xfstests tree; undefined when there is one. One that is not built is built here. */
async function whyNoTree(): Promise<string | undefined> {
  await using runtime = new HostRuntime('test', labs.stateRoot);
  const cacheRoot = defaultCacheRoot(process.env);
  try {
    await obtainTree(await testLabContext({ runtime, cacheRoot, stateDir: labs.stateRoot }));
    return undefined;
  } catch (error) {
    if (error instanceof NoTreeError) return error.message;
    throw error;
  }
}

function statuses(report: RunReport): Record<string, string> {
  return Object.fromEntries(report.tests.map(({ name, status }) => [name, status]));
}

beforeAll(async () => {
  labs = await TestLabs.create();
  noTree = await whyNoTree();
  if (noTree === undefined) await labs.must('up', '--no-server');
});
beforeEach((context) => {
  if (noTree !== undefined) context.skip(noTree);
});
afterAll(() => labs[Symbol.asyncDispose]());

test('a test that passes: exit 0', async () => {
  const { exitCode, report } = await run('runner/001');
  expect(statuses(report)).toEqual({ 'runner/001': 'passed' });
  expect(exitCode).toBe(0);
});

test('only a test that does not apply: nothing ran, exit 2', async () => {
  const { exitCode, report } = await run('runner/003');
  expect(statuses(report)).toEqual({ 'runner/003': 'notrun' });
  expect(exitCode).toBe(2);
});

test('failures of each kind and a hang, none of which stops the rest: exit 1', async () => {
  const { exitCode, report } = await run(
    'runner/001',
    'runner/002',
    'runner/003',
    'runner/004',
    'runner/006',
  );
  expect(statuses(report)).toEqual({
    'runner/001': 'passed',
    'runner/002': 'failed',
    'runner/003': 'notrun',
    'runner/004': 'hung',
    'runner/006': 'failed',
  });
  expect(report.tests.find(({ name }) => name === 'runner/002')?.reason).toContain('not the expected one');
  expect(exitCode).toBe(1);
});

test('a test that panics the guest: marked crashed, the rest runs in a new VM, exit 1', async () => {
  const { exitCode, report } = await run('runner/001', 'runner/005', 'runner/006');
  expect(statuses(report)).toEqual({
    'runner/001': 'passed',
    'runner/005': 'crashed',
    'runner/006': 'failed',
  });
  expect(report.tests.find(({ name }) => name === 'runner/005')?.reason).toContain('panic');
  expect(exitCode).toBe(1);
});

/** Begin a test that never ends, and press Ctrl-C in it. */
async function interrupted(...more: string[]): Promise<void> {
  const cli = labs.start(...more, ...onDax, '--timeout', '300', '--tests', 'runner/004');
  await cli.says(/: runner\/004 \(/);
  cli.process.kill('SIGINT');
  const { code, stderr } = await cli.end();
  expect(stderr).toMatch(/Interrupted/);
  expect(code).toBe(130);
}

test('Ctrl-C in a test: exit 130, nothing of it is left in the guest, and the lab serves on', async () => {
  await interrupted();
  expect((await labs.run('exec', '--', 'pgrep', '-f', 'tests/runner/004')).code).toBe(1);
  expect(statuses((await run('runner/001')).report)).toEqual({ 'runner/001': 'passed' });
});

test('Ctrl-C in a test, of a lab that was brought up for it: the lab ends too', async () => {
  const before = labs.runningPrograms().length;
  await interrupted('--name', 'own');
  expect(labs.runningPrograms()).toHaveLength(before);
  expect(await labs.must('status', '--name', 'own')).toBe('own: down\n');
});

test('the whole way, on zpmfs: exit 0 when its tests pass, 1 when one fails', async () => {
  const way = async (tests: string) => {
    const { code, stdout } = await labs.run('run', '--json', '--set', `xfstests.tests=${tests}`);
    return { code, ...(JSON.parse(stdout.toString()) as RunReport & { readonly ran: string }) };
  };
  const good = await way('generic/001');
  expect(good).toMatchObject({ code: 0, ran: 'xfstests', fileSystem: 'zpmfs', verdict: 'passed' });
  expect(statuses(good)).toEqual({ 'generic/001': 'passed' });
  const bad = await way('runner/002,runner/001');
  expect(bad).toMatchObject({ code: 1, verdict: 'failed' });
  expect(statuses(bad)).toEqual({ 'runner/001': 'passed', 'runner/002': 'failed' });
});
