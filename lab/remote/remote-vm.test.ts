// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { appendFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test, vi } from 'vitest';
import { quietContext } from '../runtime/testing/context.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { PlayedVm } from '../vm/testing/played-vm.ts';
import type { Vm } from '../vm/vm.ts';
import { openGateway } from './gateway.ts';
import { type Hello, protocolVersion } from './hello.ts';
import { type JoinedTask, joinRun, TaskListener } from './join.ts';
import type { ReviveRequest } from './messages.ts';
import { NodeLostError, RemoteVm } from './remote-vm.ts';
import { endOf, type RevivedVm, type ServedVm, serveVm } from './serve-vm.ts';

const host = '127.0.0.1';
/** What goes through a task's connection comes when both sides have had their turns. */
const aWhile = { timeout: 20_000 };
const hello: Hello = {
  protocol: protocolVersion,
  token: 'of this run',
  task: 'task-1',
  node: 'node-a',
  architecture: 'x64',
  machine: { kernel: 'k', flavour: 'release', image: 'i', accelerator: 'tcg', cpus: 1 },
  guest: { kernel: '6.12', server: '' },
  host: { cpu: 'a CPU', cpus: 2, qemu: '7.2.0' },
  bootSeconds: 3,
  devices: { test: ['/dev/pmem0'], scratch: ['/dev/pmem1'] },
};
const context = quietContext();

async function listen(): Promise<{
  readonly port: number;
  readonly joined: Promise<JoinedTask>;
  readonly refused: string[];
}> {
  const { promise: joined, resolve } = Promise.withResolvers<JoinedTask>();
  const refused: string[] = [];
  const listener = await TaskListener.open({
    at: 'loopback',
    token: 'of this run',
    onJoined: resolve,
    onRefused: (reason) => refused.push(reason),
  });
  onTestFinished(() => listener[Symbol.asyncDispose]());
  return { port: listener.port, joined, refused };
}

function revived(vm: Vm): RevivedVm {
  return { vm, machine: hello.machine, host: hello.host, devices: { test: ['/dev/pmem2'], scratch: [] } };
}

function served(vm: Vm, scratch: string, revive: ServedVm['revive'] = async () => revived(vm)): ServedVm {
  return { vm, revive, bindVcpus: async () => 'each to its own', scratch, progress: context.progress };
}

/** A task and a coordinator, connected over loopback. */
async function connected(revive?: ServedVm['revive']) {
  const directory = await scratchDirectory();
  const played = new PlayedVm(directory);
  const { port, joined } = await listen();
  const socket = await joinRun({ host, port }, hello);
  const task = serveVm(socket, served(played, directory, revive));
  const { session } = await joined;
  const consoleLog = join(await scratchDirectory(), 'console.log');
  const vm = new RemoteVm({ name: 'remote', node: 'node-a', session, consoleLog });
  onTestFinished(async () => {
    await vm[Symbol.asyncDispose]();
    task.destroy();
  });
  return { played, vm, task, directory, socket };
}

test('a program runs in the VM of the task; what it prints comes while it runs', async () => {
  const { played, vm } = await connected();
  const seen = Promise.withResolvers<void>();
  played.run = async (command, { input, cwd, env, onStdout, onStderr }) => {
    onStdout?.('first\n');
    await seen.promise;
    onStderr?.('Größe\n');
    onStdout?.(JSON.stringify({ command, input, cwd, env }));
    return { exitCode: 3, stdout: '', stderr: '' };
  };
  const result = await vm.exec(['a program', '--with=ü'], {
    input: 'y\n',
    cwd: '/mnt',
    env: { A: '1' },
    onStdout: (chunk) => {
      if (chunk === 'first\n') seen.resolve();
    },
  });
  expect(result.exitCode).toBe(3);
  expect(result.stderr).toBe('Größe\n');
  expect(JSON.parse(result.stdout.replace('first\n', ''))).toEqual({
    command: ['a program', '--with=ü'],
    input: 'y\n',
    cwd: '/mnt',
    env: { A: '1' },
  });
});

test('many programs at a time, each with its own output', async () => {
  const { played, vm } = await connected();
  played.run = async ([name], { onStdout }) => {
    onStdout?.(`${name}`.repeat(50_000));
    return { exitCode: Number(name), stdout: '', stderr: '' };
  };
  const results = await Promise.all(['1', '2', '3', '4'].map((name) => vm.exec([name])));
  expect(results.map(({ exitCode, stdout }) => [exitCode, new Set(stdout), stdout.length])).toEqual(
    [1, 2, 3, 4].map((name) => [name, new Set([`${name}`]), 50_000]),
  );
});

test('a program that is not waited for any more is ended in the VM', async () => {
  const { played, vm } = await connected();
  const started = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  played.run = async (_, { signal }) => {
    signal?.addEventListener('abort', () => ended.resolve());
    started.resolve();
    return new Promise<never>(() => undefined);
  };
  const stop = new AbortController();
  const running = vm.exec(['sleep'], { signal: stop.signal });
  await started.promise;
  stop.abort(new Error('enough'));
  await expect(running).rejects.toThrow('enough');
  await ended.promise;
});

test('what the VM of the task rejects with is told; the connection lives on', async () => {
  const { played, vm } = await connected();
  played.run = async () => {
    throw new Error("the guest's kernel panicked");
  };
  await expect(vm.exec(['true'])).rejects.toThrow("the guest's kernel panicked");
  played.state = { state: 'panicked', consoleTail: 'Kernel panic - not syncing: x' };
  expect(await vm.health()).toEqual(played.state);
});

test('files go there and come back, with their modes', async () => {
  const { vm, directory } = await connected();
  const own = await scratchDirectory();
  const content = Buffer.alloc(3_000_000, 'ab\0c');
  await writeFile(join(own, 'out'), content, { mode: 0o750 });
  await vm.upload(join(own, 'out'), 'über.tar', context);
  expect((await readFile(join(directory, 'über.tar'))).equals(content)).toBe(true);
  expect((await stat(join(directory, 'über.tar'))).mode & 0o777).toBe(0o750);
  await vm.download('über.tar', join(own, 'back'), context);
  expect((await readFile(join(own, 'back'))).equals(content)).toBe(true);
  await expect(vm.download('none', join(own, 'none'), context)).rejects.toThrow('ENOENT');
});

test('the console is copied while it grows', async () => {
  const { played, vm } = await connected();
  await appendFile(played.consoleLog, 'Linux version 6.12\n');
  const copied = () => readFile(vm.consoleLog, 'utf8');
  await vi.waitFor(async () => expect(await copied()).toBe('Linux version 6.12\n'), aWhile);
  await appendFile(played.consoleLog, 'run fstests generic/001\n');
  await vi.waitFor(async () => expect(await copied()).toMatch(/6\.12\nrun fstests generic\/001\n$/), aWhile);
});

test('when a VM is told to have died, its last words are here', async () => {
  const { played, vm } = await connected();
  const line = 'Kernel panic - not syncing: x';
  await appendFile(played.consoleLog, `run fstests generic/001\n${line}\n`);
  played.state = { state: 'panicked', consoleTail: line };
  expect(await vm.health()).toEqual(played.state);
  expect(await readFile(vm.consoleLog, 'utf8')).toContain(line);
});

test('a directory goes there with all that is in it', async () => {
  const { vm, directory } = await connected();
  const own = await scratchDirectory();
  await mkdir(join(own, 'tree', 'below'), { recursive: true });
  await writeFile(join(own, 'tree', 'below', 'program'), 'x'.repeat(100_000), { mode: 0o755 });
  await writeFile(join(own, 'tree', 'ü'), '');
  await vm.upload(join(own, 'tree'), 'there', context);
  const program = join(directory, 'there', 'below', 'program');
  expect(await readFile(program, 'utf8')).toBe('x'.repeat(100_000));
  expect((await stat(program)).mode & 0o777).toBe(0o755);
  expect((await stat(join(directory, 'there', 'ü'))).size).toBe(0);
});

test('a VM that is well: all that its console said is here, too, when it says so', async () => {
  const { played, vm } = await connected();
  await appendFile(played.consoleLog, Buffer.from('KASAN: \xff\n', 'latin1'));
  expect(await vm.health()).toEqual({ state: 'running' });
  expect(await readFile(vm.consoleLog, 'latin1')).toBe('KASAN: \xff\n');
});

test('another VM in place of a lost one: programs, devices and console are its; the console of the first stays', async () => {
  const second = new PlayedVm(await scratchDirectory());
  await writeFile(second.consoleLog, 'second boot\n');
  second.run = async () => ({ exitCode: 22, stdout: '', stderr: '' });
  const asked: ReviveRequest[] = [];
  const { vm, played } = await connected(async (how) => {
    asked.push(how);
    return revived(second);
  });
  await appendFile(played.consoleLog, 'first boot\n');
  expect(await vm.health()).toEqual({ state: 'running' });
  const first = vm.consoleLog;
  const machine = { cpus: 2, nodes: 2, memory: '2G', pmemSize: '1G' };
  const { devices } = await vm.revive({ keepPmem: true });
  expect(devices).toEqual({ test: ['/dev/pmem2'], scratch: [] });
  expect((await vm.exec(['true'])).exitCode).toBe(22);
  expect(await vm.health()).toEqual({ state: 'running' });
  expect(await readFile(vm.consoleLog, 'utf8')).toBe('second boot\n');
  expect(await readFile(first, 'utf8')).toBe('first boot\n');
  await vm.revive({ keepPmem: false, machine });
  expect(asked).toEqual([{ keepPmem: true }, { keepPmem: false, machine }]);
  expect(await vm.bindVcpus()).toBe('each to its own');
});

test('a task that dies: what was under way rejects, the VM is told to be lost with its node', async () => {
  const { played, vm, socket } = await connected();
  const started = Promise.withResolvers<void>();
  played.run = async () => {
    started.resolve();
    return new Promise<never>(() => undefined);
  };
  const running = vm.exec(['sleep']);
  await started.promise;
  socket.destroy();
  await expect(running).rejects.toThrow(NodeLostError);
  await expect(vm.exec(['true'])).rejects.toThrow('The task on node-a is gone.');
  expect(await vm.health()).toEqual({ state: 'node-lost', node: 'node-a', consoleTail: '' });
});

test('a task that cannot tell how its VM is has not gone', async () => {
  const { played, vm } = await connected();
  await appendFile(played.consoleLog, 'Linux version 6.12\n');
  played.health = async () => {
    throw new Error('QEMU answers nonsense');
  };
  await vi.waitFor(async () => expect(await readFile(vm.consoleLog, 'utf8')).toContain('Linux'), aWhile);
  expect(await vm.health()).toEqual({ state: 'unreachable', consoleTail: 'Linux version 6.12' });
});

test('a file that cannot be written here is no loss of the node', async () => {
  const { vm, directory } = await connected();
  await writeFile(join(directory, 'there'), 'x');
  const download = vm.download('there', join(directory, 'no', 'such', 'place'), context);
  await expect(download).rejects.toThrow('ENOENT');
  await expect(download).rejects.not.toThrow(NodeLostError);
});

test('a task whose connection is reset before anybody uses its VM', async () => {
  const { port, joined } = await listen();
  const socket = await joinRun({ host, port }, hello);
  const { session } = await joined;
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  session.once('close', resolve);
  // An error of the session that nobody hears of would end this process.
  socket.resetAndDestroy();
  await closed;
});

test('a run that ends lets its tasks go', async () => {
  const { vm, task } = await connected();
  const end = endOf(task);
  await vm[Symbol.asyncDispose]();
  expect(await end).toBe('released');
});

test('a run that is gone without a word has let nobody go', async () => {
  const { port, joined } = await listen();
  const socket = await joinRun({ host, port }, hello);
  const vm = new PlayedVm(await scratchDirectory());
  const task = serveVm(socket, served(vm, '/nowhere'));
  await joined;
  const end = endOf(task);
  socket.destroy();
  expect(await end).toBe('cut');
});

test.each([
  ['another token', { ...hello, token: 'of another run' }, 'Its token is not that of the run.'],
  ['no token', { ...hello, token: '' }, 'Its token is not that of the run.'],
  ['another version', { ...hello, protocol: 4 as 5 }, 'What it said is no greeting of this version.'],
])('a task with %s is not let in', async (_, said, reason) => {
  const { port, refused } = await listen();
  await expect(joinRun({ host, port }, said)).rejects.toThrow(`The run did not let this task in: ${reason}`);
  expect(refused).toEqual([expect.stringContaining(reason)]);
});

test.each(['GET / HTTP/1.1\r\n\r\n', 'x'.repeat(20_000)])(
  'whoever says something else is turned away: %.12s',
  async (said) => {
    const { port, refused } = await listen();
    const socket = connect({ host, port });
    socket.write(said);
    expect(await text(socket)).toContain('refused');
    expect(refused).toHaveLength(1);
  },
);

test('a run that listens on a socket file is joined through a gateway, and its end is heard of through it', async () => {
  const directory = await scratchDirectory();
  const socketFile = join(directory, 'run.sock');
  const { promise: joined, resolve } = Promise.withResolvers<JoinedTask>();
  await using _listener = await TaskListener.open({
    at: { socketFile },
    token: 'of this run',
    onJoined: resolve,
    onRefused: () => undefined,
  });
  await using gateway = await openGateway({ host, port: 0, socketFile });
  const wrong = joinRun({ host, port: gateway.port }, { ...hello, token: 'other' });
  await expect(wrong).rejects.toThrow('Its token is not that of the run.');
  const socket = await joinRun({ host, port: gateway.port }, hello);
  const vm = new PlayedVm(directory);
  const task = serveVm(socket, served(vm, directory));
  const closed = once(task, 'close');
  const { session } = await joined;
  const consoleLog = join(directory, 'copied.log');
  const remote = new RemoteVm({ name: 'remote', node: 'node-a', session, consoleLog });
  expect((await remote.exec(['true'])).exitCode).toBe(0);
  await remote[Symbol.asyncDispose]();
  await closed;
});

test('nobody there: one sentence', async () => {
  const { port } = await listen();
  const closed = port === 1 ? 2 : 1;
  await expect(joinRun({ host, port: closed }, hello)).rejects.toThrow(
    "The run's coordinator at 127.0.0.1:1 does not answer.",
  );
});
