// SPDX-License-Identifier: BSD-3-Clause

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { CommandFailedError, InterruptedError, MissingPrerequisiteError } from '../errors.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { HostRuntime } from './host.ts';
import { membersOf } from './process-group.ts';
import { identify, isAlive, statFields } from './process-identity.ts';
import { quietContext } from './testing/context.ts';

const tools = 'server-build';

async function hostRuntime(lab = 'test') {
  const state = await scratchDirectory();
  const runtime = new HostRuntime(lab, state);
  onTestFinished(() => runtime[Symbol.asyncDispose]());
  return { runtime, state };
}

/** Programs on record, whether they run or not. */
async function records(state: string, lab = 'test'): Promise<string[]> {
  return await readdir(join(state, lab, 'processes'));
}

test('output comes back whole, by lines to the progress, and into the log file', async () => {
  const { runtime, state } = await hostRuntime();
  const context = quietContext();
  const logFile = join(state, 'log');
  const result = await runtime.run(['sh', '-c', 'echo one; echo two >&2; printf three'], {
    ...context,
    cwd: state,
    tools,
    logFile,
  });
  expect(result).toEqual({ exitCode: 0, stdout: 'one\nthree', stderr: 'two\n' });
  expect(context.lines.sort()).toEqual(['one', 'three', 'two']);
  expect((await readFile(logFile, 'utf8')).length).toBe('one\ntwo\nthree'.length);
});

test('input and environment reach the program', async () => {
  const { runtime, state } = await hostRuntime();
  const options = { ...quietContext(), cwd: state, tools, input: 'hello', env: { NAME: 'zufs' } } as const;
  expect((await runtime.run(['sh', '-c', 'cat; printf "$NAME"; pwd'], options)).stdout).toBe(
    `hellozufs${state}\n`,
  );
});

test('a failure carries command, exit code and last lines', async () => {
  const { runtime, state } = await hostRuntime();
  const command = ['sh', '-c', 'echo it is broken; exit 3'];
  const error = await runtime
    .run(command, { ...quietContext(), cwd: state, tools })
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(CommandFailedError);
  expect(error).toMatchObject({ command, commandExitCode: 3, outputTail: 'it is broken' });
  const asked = await runtime.run(command, { ...quietContext(), cwd: state, tools, reject: false });
  expect(asked.exitCode).toBe(3);
});

test('a program that is not installed is a missing prerequisite', async () => {
  const { runtime, state } = await hostRuntime();
  const run = runtime.run(['no-such-program'], { ...quietContext(), cwd: state, tools });
  await expect(run).rejects.toThrow(MissingPrerequisiteError);
});

test('an abort ends the program with all that it started', async () => {
  const { runtime, state } = await hostRuntime();
  const controller = new AbortController();
  const context = quietContext(controller.signal);
  const run = runtime.run(['sh', '-c', 'sleep 600 & sleep 600 & echo $$; wait'], {
    ...context,
    cwd: state,
    tools,
  });
  while (context.lines.length === 0) await sleep(10);
  const group = Number(context.lines[0]);
  expect(membersOf(group).length).toBe(3);
  controller.abort(new InterruptedError());
  await expect(run).rejects.toThrow(InterruptedError);
  expect(membersOf(group)).toEqual([]);
  expect(await records(state)).toEqual([]);
});

test('a background program is found by its labels from another process, and ended', async () => {
  const { runtime, state } = await hostRuntime('one');
  const labels = { 'zufs-lab.lab': 'one', 'zufs-lab.role': 'vm' };
  const logFile = join(state, 'log');
  const started = await runtime.start(['sh', '-c', 'echo up; sleep 600'], {
    cwd: state,
    labels,
    tools,
    logFile,
  });
  while ((await readFile(logFile, 'utf8')) !== 'up\n') await sleep(10);
  const other = new HostRuntime('two', state);
  onTestFinished(() => other[Symbol.asyncDispose]());
  expect(await other.find({ 'zufs-lab.lab': 'two' })).toEqual([]);
  const [found] = await other.find(labels);
  expect(found.id).toBe(started.id);
  expect(await found.running()).toBe(true);
  await found.stop(1000);
  expect(await started.running()).toBe(false);
  expect(membersOf(Number(started.id))).toEqual([]);
  expect(await other.find(labels)).toEqual([]);
});

test('a program that is started for another lab is found, and ended, as that lab’s', async () => {
  const { runtime, state } = await hostRuntime();
  const labels = { 'zufs-lab.lab': 'other' };
  const options = { cwd: state, labels, tools: 'vm', logFile: join(state, 'log') } as const;
  await runtime.start(['sleep', '1000'], options);
  const found = await runtime.find(labels);
  expect(found).toHaveLength(1);
  expect(await runtime.find({ 'zufs-lab.lab': 'test' })).toEqual([]);
  for (const program of found) await program.stop(0);
  expect(await runtime.find(labels)).toEqual([]);
});

test('an ended background program is found until it is removed, with its exit code', async () => {
  const { runtime, state } = await hostRuntime();
  const labels = { 'zufs-lab.role': 'vm' };
  const started = await runtime.start(['sh', '-c', 'exit 7'], {
    cwd: state,
    labels,
    tools,
    logFile: join(state, 'log'),
  });
  expect(await started.wait(new AbortController().signal)).toEqual({ code: 7 });
  const [found] = await runtime.find(labels);
  expect(await found.running()).toBe(false);
  await found.stop();
  expect(await runtime.find(labels)).toEqual([]);
});

test('waiting for a program that has ended just now gives its code, with nothing else to keep Node running', async () => {
  const { state } = await hostRuntime();
  const program = `
    import { HostRuntime } from ${JSON.stringify(join(import.meta.dirname, 'host.ts'))};
    const runtime = new HostRuntime('test', ${JSON.stringify(state)});
    const started = await runtime.start(['sh', '-c', 'exit 7'], {
      cwd: '/', tools: 'vm', logFile: '/dev/null', labels: {},
    });
    // Busy until it has ended, so that Node cannot have heard of it.
    for (const until = Date.now() + 500; Date.now() < until; );
    console.log((await started.wait(new AbortController().signal)).code);
  `;
  const { stdout, status } = spawnSync(
    process.execPath,
    ['--input-type=module-typescript', '--eval', program],
    { encoding: 'utf8' },
  );
  expect([stdout, status]).toEqual(['7\n', 0]);
});

test('a program that ignores SIGTERM is killed after the grace', async () => {
  const { runtime, state } = await hostRuntime();
  const logFile = join(state, 'log');
  const command = ['sh', '-c', 'trap "" TERM; echo deaf; while :; do sleep 1; done'];
  const started = await runtime.start(command, { cwd: state, labels: {}, tools, logFile });
  while (!(await readFile(logFile, 'utf8')).includes('deaf')) await sleep(10);
  await started.stop(200);
  expect(membersOf(Number(started.id))).toEqual([]);
});

test('a process that was given the pid of a recorded one is left alone', async () => {
  const { runtime, state } = await hostRuntime();
  const logFile = join(state, 'log');
  const started = await runtime.start(['sleep', '600'], {
    cwd: state,
    labels: { role: 'vm' },
    tools,
    logFile,
  });
  const [name] = await records(state);
  const file = join(state, 'test', 'processes', name);
  const record = JSON.parse(await readFile(file, 'utf8'));
  record.identity.startTime = '1';
  await writeFile(file, JSON.stringify(record));
  const [found] = await runtime.find({ role: 'vm' });
  expect(await found.running()).toBe(false);
  await found.stop();
  expect(await started.running()).toBe(true);
  expect(await runtime.find({ role: 'vm' })).toEqual([]);
  await started.stop(1000);
});

test('what a killed zufs-lab ran is ended by the next one; its background programs go on', async () => {
  const { runtime, state } = await hostRuntime();
  const program = `
    import { HostRuntime } from ${JSON.stringify(join(import.meta.dirname, 'host.ts'))};
    import { quietContext } from ${JSON.stringify(join(import.meta.dirname, 'testing/context.ts'))};
    const runtime = new HostRuntime('test', ${JSON.stringify(state)});
    const where = { cwd: '/', tools: 'vm', logFile: '/dev/null' };
    const vm = await runtime.start(['sleep', '600'], { ...where, labels: { 'zufs-lab.role': 'vm' } });
    runtime.run(['sh', '-c', 'sleep 600 & echo $$; wait'], {
      ...quietContext(), cwd: '/', tools: 'vm',
      progress: { ...quietContext().progress, output: (line) => console.log(vm.id + ' ' + line) },
    });
  `;
  const cli = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(cli.stdout, 'data')) as [Buffer];
  const [vm, build] = line.toString().trim().split(' ').map(Number);
  expect(await runtime.reapOrphans()).toBe(0);
  cli.kill('SIGKILL');
  await once(cli, 'close');
  expect(membersOf(build).length).toBe(2);
  expect(await runtime.reapOrphans()).toBe(1);
  expect(membersOf(build)).toEqual([]);
  const found = await runtime.find({ 'zufs-lab.lab': 'test' });
  expect(found.map(({ id }) => Number(id))).toEqual([vm]);
  await found[0].stop(1000);
  expect(membersOf(vm)).toEqual([]);
});

test('a process is known by its start time, not by its pid alone', () => {
  const self = identify(process.pid);
  if (self === undefined) throw new Error('this process is not in /proc');
  expect(isAlive(self)).toBe(true);
  expect(isAlive({ ...self, startTime: `${self.startTime}0` })).toBe(false);
  expect(isAlive({ ...self, bootId: 'another' })).toBe(false);
  expect(identify(2 ** 22 + 1)).toBeUndefined();
  expect(statFields(process.pid)?.state).toMatch(/[RS]/);
});
