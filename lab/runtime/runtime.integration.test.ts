// SPDX-License-Identifier: BSD-3-Clause

import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import getPort from 'get-port';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { CommandFailedError, InterruptedError } from '../errors.ts';
import { defaultCacheRoot } from '../paths.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { DockerRuntime } from './docker.ts';
import { HostRuntime } from './host.ts';
import type { Runtime } from './runtime.ts';
import { quietContext } from './testing/context.ts';
import { useTestEngine } from './testing/use-engine.ts';

const fileEngine = useTestEngine();

// What the rest of the lab relies on, the same on both.
describe.each(['host', 'docker'] as const)('%s', (kind) => {
  let directory: string;
  let runtime: Runtime;
  /** Of somebody else on the same machine, or of tests: with the same engine, and labs of the same names. */
  let other: Runtime;
  const lab = `test-${kind}`;
  const labels = { 'zufs-lab.lab': lab, 'zufs-lab.role': 'vm' };

  beforeEach(async (context) => {
    const engine = kind === 'docker' ? fileEngine.orSkip(context) : undefined;
    directory = await scratchDirectory();
    const host = new HostRuntime(lab, join(directory, 'state'));
    runtime =
      engine === undefined
        ? host
        : new DockerRuntime({ lab, engine: engine.engine, host, cacheRoot: defaultCacheRoot(process.env) });
    const otherHost = new HostRuntime(lab, join(directory, 'other-state'));
    other =
      engine === undefined
        ? otherHost
        : new DockerRuntime({
            ...{ lab, engine: engine.engine, cacheRoot: defaultCacheRoot(process.env) },
            host: otherHost,
          });
    onTestFinished(async () => {
      for (const left of await runtime.find({ 'zufs-lab.lab': lab })) await left.stop(0);
      await runtime[Symbol.asyncDispose]();
    });
    await runtime.prepare('vm', quietContext());
  });

  const options = () => ({ ...quietContext(), cwd: directory, tools: 'vm' as const });
  const launch = (command: readonly string[], ports: readonly number[] = []) =>
    runtime.start(command, { cwd: directory, labels, tools: 'vm', logFile: join(directory, 'log'), ports });

  test('runs a program in a directory of the host, with environment and input', async () => {
    const command = ['sh', '-c', 'cat; echo "$NAME"; pwd; echo problem >&2; echo made > file'];
    const logFile = join(directory, 'log');
    const result = await runtime.run(command, {
      ...options(),
      env: { NAME: 'zufs' },
      input: 'typed\n',
      logFile,
    });
    expect(result).toEqual({ exitCode: 0, stdout: `typed\nzufs\n${directory}\n`, stderr: 'problem\n' });
    expect(await readFile(join(directory, 'file'), 'utf8')).toBe('made\n');
    expect((await stat(join(directory, 'file'))).uid).toBe(process.getuid?.());
    expect((await readFile(logFile, 'utf8')).split('\n').sort()).toEqual([
      '',
      directory,
      'problem',
      'typed',
      'zufs',
    ]);
  });

  test('tells exit codes', async () => {
    expect((await runtime.run(['sh', '-c', 'exit 3'], { ...options(), reject: false })).exitCode).toBe(3);
    const failing = runtime.run(['sh', '-c', 'echo why >&2; exit 4'], options());
    await expect(failing).rejects.toMatchObject({ commandExitCode: 4, outputTail: 'why' });
    await expect(failing).rejects.toBeInstanceOf(CommandFailedError);
  });

  test('output of a megabyte comes whole', async () => {
    const { stdout } = await runtime.run(['seq', '1', '200000'], options());
    expect(stdout.length).toBe(1_288_895);
    expect(stdout.endsWith('199999\n200000\n')).toBe(true);
  });

  test('has the tools of every tool set', async () => {
    for (const tools of ['kernel-build', 'image-build', 'server-build'] as const)
      await runtime.prepare(tools, quietContext());
    for (const program of ['flex', 'ccache', 'mmdebstrap', 'mkfs.ext4', 'qemu-system-x86_64', 'gcc']) {
      expect((await runtime.run(['sh', '-c', `command -v ${program}`], options())).exitCode).toBe(0);
    }
  });

  test('an abort ends what runs', async () => {
    const controller = new AbortController();
    const context = quietContext(controller.signal);
    const run = runtime.run(['sh', '-c', 'echo up; sleep 600 & wait'], { ...options(), ...context });
    await vi.waitUntil(() => context.lines.length > 0, 20_000);
    controller.abort(new InterruptedError());
    await expect(run).rejects.toThrow(InterruptedError);
    expect(await runtime.find({ 'zufs-lab.lab': lab })).toEqual([]);
  });

  test('a background program is found, writes its log, opens a port on loopback, and is ended', async () => {
    const port = await getPort({ host: '127.0.0.1' });
    const program = `
import socket
server = socket.create_server(("127.0.0.1", ${port}))
print("listening", flush=True)
while True:
    server.accept()[0].sendall(b"hello")
`;
    await writeFile(join(directory, 'server.py'), program);
    const started = await launch(['python3', join(directory, 'server.py')], [port]);
    expect(existsSync(join(directory, 'log'))).toBe(true);
    await vi.waitUntil(
      async () => (await readFile(join(directory, 'log'), 'utf8')) === 'listening\n',
      20_000,
    );
    expect(await received(port)).toBe('hello');
    const [found] = await runtime.find(labels);
    expect(found.id).toBe(started.id);
    expect(await other.find(labels)).toEqual([]);
    expect(await found.running()).toBe(true);
    await found.stop(1000);
    expect(await runtime.find(labels)).toEqual([]);
    expect(await started.running()).toBe(false);
    // Once more does no harm.
    await started.stop();
  });

  test('a background program that ends is waited for, and stays to be found until it is removed', async () => {
    const started = await launch(['sh', '-c', 'echo bye; exit 7']);
    expect(await started.wait(AbortSignal.timeout(20_000))).toEqual({ code: 7 });
    const [found] = await runtime.find(labels);
    expect(await found.running()).toBe(false);
    await found.stop();
    expect(await runtime.find(labels)).toEqual([]);
    expect(await readFile(join(directory, 'log'), 'utf8')).toBe('bye\n');
  });

  test('waiting can be given up', async () => {
    const started = await launch(['sleep', '600']);
    await expect(started.wait(AbortSignal.timeout(200))).rejects.toThrow();
    expect(await started.running()).toBe(true);
    await started.stop(0);
  });

  test('apt works as the machine has it set up, where a program asks for the network', async () => {
    const apt = ['-o', `Dir::State::lists=${directory}/lists`, '-o', `Dir::Cache=${directory}/cache`];
    const quiet = [...apt, '-o', 'APT::Sandbox::User=', '-o', 'Debug::NoLocking=true'];
    const script =
      'mkdir -p lists/partial cache/archives/partial && apt-get "$@" update && apt-get "$@" download hostname';
    await runtime.run(['sh', '-ec', script, 'sh', ...quiet], { ...options(), network: true });
    expect((await runtime.run(['sh', '-c', 'ls *.deb'], options())).stdout).toMatch(/^hostname_.*\.deb\n$/);
  });
});

/** What a server on loopback sends first. */
async function received(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  try {
    for await (const chunk of socket) return String(chunk);
    return '';
  } finally {
    socket.destroy();
  }
}
