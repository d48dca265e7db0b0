// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { packageRoot } from '../lab/paths.ts';
import type { RunReport } from '../lab/test-run/verdict.ts';
import type { CliResult } from '../lab/testing/cli.ts';
import { TestLabs } from '../lab/testing/test-lab.ts';
import { readState, vmPaths } from '../lab/vm/state.ts';
import { whyNoTree } from './testing/why-no-tree.ts';

// The runner's own tests in a VM of their own, on ext4 with DAX, which needs no server: what a test does that passes, fails,
// does not apply, hangs, or takes the guest with it, and what the command makes of it.

const onDax = ['--fs', 'ext4-dax'];

let labs: TestLabs;
let noTree: string | undefined;

interface Ran {
  readonly exitCode: number;
  readonly report: RunReport;
}

/** `limit`: seconds a test may take. */
async function run(
  { shards = 1, limit = 60 }: { readonly shards?: number; readonly limit?: number },
  tests: readonly string[],
): Promise<Ran> {
  const { code, stdout, stderr } = await labs.run(
    ...['--json', 'xfstests', ...onDax, '--shards', `${shards}`, '--timeout', `${limit}`],
    ...['--tests', tests.join()],
  );
  return { exitCode: code ?? -1, report: reportIn({ stdout, stderr }) };
}

function reportIn({ stdout, stderr }: Pick<CliResult, 'stdout' | 'stderr'>): RunReport {
  if (stdout.length === 0) throw new Error(`no report: ${stderr}`);
  return JSON.parse(stdout.toString()) as RunReport;
}

function reasonOf(report: RunReport, test: string): string | undefined {
  return report.tests.find(({ name }) => name === test)?.reason;
}

function statuses(report: RunReport): Record<string, string> {
  return Object.fromEntries(report.tests.map(({ name, status }) => [name, status]));
}

beforeAll(async () => {
  labs = await TestLabs.create();
  noTree = await whyNoTree(labs);
  if (noTree === undefined) await labs.must('up', '--no-server');
});
beforeEach((context) => {
  if (noTree !== undefined) context.skip(noTree);
});
afterAll(() => labs[Symbol.asyncDispose]());

test('a run in which goes wrong what can: each test has the verdict it deserves, and the others run; exit 1', async () => {
  const running = run({ shards: 2, limit: 60 }, [
    ...['runner/001', 'runner/002', 'runner/003', 'runner/004', 'runner/005'],
    ...['runner/006', 'runner/007', 'runner/009', 'runner/010', 'runner/012'],
  ]);
  // One of the two VMs is killed besides, by hand and in mid-run.
  const { exitCode, report } = await killingVmThatRuns('runner/012', running);
  expect(statuses(report)).toEqual({
    'runner/001': 'passed',
    'runner/002': 'failed',
    'runner/003': 'notrun',
    'runner/004': 'hung',
    'runner/005': 'crashed',
    'runner/006': 'failed',
    'runner/007': 'crashed',
    'runner/009': 'failed',
    // Garbage on its output, in its files and in check's report.
    'runner/010': 'failed',
    'runner/012': 'passed',
  });
  expect(reasonOf(report, 'runner/002')).toContain('not the expected one');
  expect(reasonOf(report, 'runner/004')).toContain('did not end within 60 s');
  expect(reasonOf(report, 'runner/005')).toContain('panic');
  expect(reasonOf(report, 'runner/007')).toContain('BUG: kernel NULL pointer dereference');
  expect(reasonOf(report, 'runner/009')).toContain('root disk is full');
  // The VM that was killed cost its test no verdict, and the event is told.
  const replaced = report.events.filter((event) => event.includes('another took the rest'));
  expect(replaced.join('\n')).toMatch(/VM was lost \(QEMU ended.*runner\/012 once more/);
  // After 005, 007, 009 and the killed one, as far as they left a rest: the last of each of the two shards did not.
  expect(replaced.length).toBeGreaterThanOrEqual(2);
  expect([report.shards, report.problems, exitCode]).toEqual([2, [], 1]);
});

test('only a test that does not apply: nothing ran, exit 2', async () => {
  const { exitCode, report } = await run({}, ['runner/003']);
  expect(statuses(report)).toEqual({ 'runner/003': 'notrun' });
  expect(exitCode).toBe(2);
});

test('garbage in the report that check is writing: no verdict is made of it, exit 2', async () => {
  const { exitCode, report } = await run({}, ['runner/001', 'runner/011']);
  expect(report.verdict).toBe('incomplete');
  expect(report.counts.passed).toBe(0);
  expect(report.problems.join()).toContain('result.xml');
  expect(exitCode).toBe(2);
});

test('a VM that the last test has spoilt is there to be looked at, and the next run gets another', async () => {
  await run({}, ['runner/009']);
  expect(await labs.must('exec', '--', 'df', '--output=avail', '/var')).toMatch(/^ *0$/m);
  expect((await labs.run('status')).stdout.toString()).toContain('given up   by a run of tests: ');
  const { exitCode, report } = await run({}, ['runner/001']);
  expect([exitCode, statuses(report)]).toEqual([0, { 'runner/001': 'passed' }]);
});

/** While a run goes on: wait until one of its two labs is in a test, and kill its QEMU as a user would. */
async function killingVmThatRuns(test: string, running: Promise<Ran>): Promise<Ran> {
  const ended = running.then(
    () => true,
    () => true,
  );
  while (!(await killVmThatRuns(test)) && !(await Promise.race([ended, sleep(200, false)])));
  return await running;
}

/** Whether there was one. */
async function killVmThatRuns(test: string): Promise<boolean> {
  for (const directory of ['default', 'default-2'].map((lab) => join(labs.stateRoot, lab))) {
    const console = await readFile(vmPaths(directory).consoleLog, 'utf8').catch(() => '');
    if (!console.includes(`run fstests ${test} at`)) continue;
    const state = await readState(directory);
    if (state === undefined) continue;
    if (state.runtime === 'host') process.kill(Number(state.id), 'SIGKILL');
    else await execa('docker', ['kill', state.id]);
    return true;
  }
  return false;
}

/** Begin a test that never ends, and press Ctrl-C in it. */
async function interrupted(...more: string[]): Promise<void> {
  const cli = labs.start(...more, 'xfstests', ...onDax, '--timeout', '300', '--tests', 'runner/004');
  await cli.says(/: runner\/004 \(/);
  cli.process.kill('SIGINT');
  const { code, stderr } = await cli.end();
  expect(stderr).toMatch(/Interrupted/);
  expect(code).toBe(130);
}

test('Ctrl-C in a test: exit 130, nothing of it is left in the guest, and the lab serves on', async () => {
  await interrupted();
  expect((await labs.run('exec', '--', 'pgrep', '-f', 'tests/runner/004')).code).toBe(1);
  const { exitCode, report } = await run({}, ['runner/001']);
  expect(statuses(report)).toEqual({ 'runner/001': 'passed' });
  expect(exitCode).toBe(0);
});

test('Ctrl-C in a test, of a lab that was brought up for it: the lab ends too', async () => {
  const before = labs.runningPrograms().length;
  await interrupted('--name', 'own');
  expect(labs.runningPrograms()).toHaveLength(before);
  expect(await labs.must('status', '--name', 'own')).toBe('own: down\n');
});

test('the whole way, on zpmfs: exit 0 when its tests pass, 1 when they do not, and a server that a test kills is replaced', async () => {
  const way = async (tests: string) => {
    const result = await labs.run('run', '--json', '--set', `xfstests.tests=${tests}`);
    return { code: result.code, ...reportIn(result) };
  };
  const good = await way('generic/002');
  expect(good).toMatchObject({ code: 0, ran: 'xfstests', fileSystem: 'zpmfs', verdict: 'passed' });
  expect(statuses(good)).toEqual({ 'generic/002': 'passed' });
  const bad = await way('runner/001,runner/008,runner/010');
  expect(bad).toMatchObject({ code: 1, verdict: 'failed' });
  expect(statuses(bad)).toEqual({
    'runner/001': 'passed',
    'runner/008': 'crashed',
    'runner/010': 'failed',
  });
  expect(reasonOf(bad, 'runner/008')).toContain('the server has ended');
  const state = await readFile(join(packageRoot, 'build', 'results', bad.run, 'runner', '008.state'), 'utf8');
  expect(state).toMatch(/== server log\n[\s\S]*zus: ready/);
});
