// SPDX-License-Identifier: BSD-3-Clause

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { InterruptedError } from '../errors.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { HostRuntime } from './host.ts';
import { identify } from './process-identity.ts';
import { quietContext } from './testing/context.ts';
import { playSudo } from './testing/played-sudo.ts';

const tools = 'image-build';

async function hostRuntime() {
  const state = await scratchDirectory();
  const runtime = new HostRuntime('test', state);
  onTestFinished(() => runtime[Symbol.asyncDispose]());
  return { runtime, state, sudo: await playSudo(state) };
}

const running = (pids: readonly number[]): number[] => pids.filter((pid) => identify(pid) !== undefined);

/** Whether somebody sits there, for the time of a test. */
function setTerminal(there: boolean): void {
  const before = process.stdin.isTTY;
  process.stdin.isTTY = there;
  onTestFinished(() => {
    process.stdin.isTTY = before;
  });
}

/** A zufs-lab that runs `program`, which prints pids of its own, as root, and is killed outright. */
async function killedWhile(state: string, program: string): Promise<number[]> {
  const source = `
    import { HostRuntime } from ${JSON.stringify(join(import.meta.dirname, 'host.ts'))};
    import { quietContext } from ${JSON.stringify(join(import.meta.dirname, 'testing/context.ts'))};
    process.getuid = () => 1000;
    new HostRuntime('test', ${JSON.stringify(state)}).run(['sh', '-c', ${JSON.stringify(program)}], {
      ...quietContext(), cwd: '/', tools: 'image-build', root: true,
      progress: { ...quietContext().progress, output: (line) => console.log(line) },
    });
  `;
  const cli = spawn(process.execPath, ['--input-type=module-typescript', '--eval', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(cli.stdout, 'data')) as [Buffer];
  cli.kill('SIGKILL');
  await once(cli, 'exit');
  const pids = line.toString().trim().split(' ').map(Number);
  onTestFinished(() => {
    for (const pid of running(pids)) process.kill(pid, 'SIGKILL');
  });
  return pids;
}

test('what a killed zufs-lab ran through sudo is ended by the next one, with all that it started', async () => {
  const { runtime, state, sudo } = await hostRuntime();
  const pids = await killedWhile(state, 'sleep 600 & echo $$ $!; wait');
  expect(running(pids)).toEqual(pids);
  expect(await runtime.reapOrphans()).toBe(1);
  expect(running(pids)).toEqual([]);
  expect(await runtime.find({})).toEqual([]);
  expect(await sudo.calls()).toContainEqual(expect.stringMatching(/^-n kill -TERM \d+ \d+$/));
});

test('what runs through sudo and ignores SIGTERM is killed after the grace', async () => {
  const { runtime, state } = await hostRuntime();
  const pids = await killedWhile(state, 'trap "" TERM; sleep 600 & echo $$ $!; wait');
  const [orphan] = await runtime.find({});
  await orphan.stop(200);
  expect(running(pids)).toEqual([]);
});

test('what takes a password to be ended is left alone by the way; without a terminal the user is told how', async () => {
  const { runtime, state, sudo } = await hostRuntime();
  const pids = await killedWhile(state, 'sleep 600 & echo $$ $!; wait');
  await sudo.askForPassword();
  setTerminal(false);
  expect(await runtime.reapOrphans()).toBe(0);
  const [orphan] = await runtime.find({});
  await expect(orphan.stop()).rejects.toMatchObject({
    message: `sh, which runs as root (process ${orphan.id}), could not be ended.`,
    hint: `Run: sudo kill ${orphan.id}`,
  });
  expect(running(pids)).toEqual(pids);
  expect(await runtime.find({})).toHaveLength(1);
});

test('what takes a password to be ended is ended by whoever is there to give it, and is told what for', async () => {
  const { runtime, state, sudo } = await hostRuntime();
  const pids = await killedWhile(state, 'sleep 600 & echo $$ $!; wait');
  await sudo.askForPassword();
  setTerminal(true);
  const [orphan] = await runtime.find({});
  await orphan.stop();
  expect(running(pids)).toEqual([]);
  expect(await sudo.calls()).toContain(
    `-p To end sh (process ${orphan.id}) as root, password for %p:  kill -TERM ${pids.join(' ')}`,
  );
});

test('root’s work goes through sudo, is announced, and ends with an abort', async () => {
  const { runtime, state, sudo } = await hostRuntime();
  const controller = new AbortController();
  const context = quietContext(controller.signal);
  const run = runtime.run(['sh', '-c', 'echo up; exec sleep 600'], {
    ...context,
    cwd: state,
    tools,
    root: true,
  });
  while (context.lines.length === 0) await sleep(10);
  expect(context.notes).toEqual(['As root, through sudo: sh -c echo up; exec sleep 600']);
  controller.abort(new InterruptedError());
  await expect(run).rejects.toThrow(InterruptedError);
  expect(await sudo.calls()).toEqual([
    '-- sh -c echo up; exec sleep 600',
    expect.stringMatching(/^-n kill -TERM \d+$/),
  ]);
});
