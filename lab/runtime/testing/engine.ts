// SPDX-License-Identifier: BSD-3-Clause

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { defaultCacheRoot } from '../../paths.ts';
import { installPackages } from '../apt.ts';
import { type Engine, findEngine } from '../engine.ts';
import { quietContext } from './context.ts';

/** A container engine for tests: one that was there, or one of our own that ends with the test. */
export interface TestEngine extends AsyncDisposable {
  readonly engine: Engine;
  /** For DOCKER_HOST of a command line under test. */
  readonly address: string;
}

/** No engine, and why not: reason to skip a test, never to pass it. */
export interface NoTestEngine {
  readonly skip: string;
}

const upMs = 60_000;
const downMs = 20_000;

/**
 * The engine that answers on this machine; else dockerd from Debian's package, installed if need be, on a socket of its own.
 * It touches neither the network set-up of the machine (no bridge, no iptables) nor another engine's data. Its images are
 * kept in the cache, so that the builder image is made once.
 */
export async function startTestEngine(): Promise<TestEngine | NoTestEngine> {
  const { engine } = await findEngine(process.env);
  if (engine !== undefined)
    return { engine, address: engine.address, [Symbol.asyncDispose]: async () => undefined };
  if (process.getuid?.() !== 0) return { skip: 'no container engine answers, and starting one needs root' };
  try {
    await installPackages(['docker.io'], 'tests with a container engine', quietContext());
  } catch (error) {
    return { skip: `no container engine answers, and none could be installed: ${(error as Error).message}` };
  }
  return await startDaemon();
}

async function startDaemon(): Promise<TestEngine | NoTestEngine> {
  const data = join(defaultCacheRoot(process.env), 'test-engine');
  await mkdir(data, { recursive: true });
  // A socket's path is limited to 107 bytes, so a short one.
  const directory = await mkdtemp(join(tmpdir(), 'zufs-engine-'));
  const address = `unix://${join(directory, 'docker.sock')}`;
  const logFile = join(directory, 'dockerd.log');
  const log = openSync(logFile, 'w');
  const daemon = spawn(
    'setpriv',
    [
      // A test run that is killed runs no teardown: the daemon ends with it all the same.
      ...['--pdeathsig', 'TERM', 'dockerd'],
      ...['--host', address, '--data-root', data, '--exec-root', join(directory, 'exec')],
      ...[
        '--pidfile',
        join(directory, 'dockerd.pid'),
        '--bridge=none',
        '--iptables=false',
        '--ip6tables=false',
      ],
    ],
    { stdio: ['ignore', log, log], detached: true },
  );
  closeSync(log);
  daemon.on('error', () => undefined);
  const deadline = performance.now() + upMs;
  while (performance.now() < deadline && daemon.pid !== undefined && daemon.exitCode === null) {
    const { engine } = await findEngine({ DOCKER_HOST: address });
    if (engine !== undefined) {
      return { engine, address, [Symbol.asyncDispose]: () => stopDaemon(daemon, directory) };
    }
    await sleep(200);
  }
  const lastLine = (await readFile(logFile, 'utf8')).trim().split('\n').at(-1);
  await stopDaemon(daemon, directory);
  return { skip: `dockerd does not come up on this machine: ${lastLine}` };
}

async function stopDaemon(daemon: ChildProcess, directory: string): Promise<void> {
  if (daemon.pid !== undefined && daemon.exitCode === null && daemon.signalCode === null) {
    const ended = once(daemon, 'exit');
    // dockerd ends its containerd and its containers itself when it is asked to end.
    daemon.kill('SIGTERM');
    const inTime = await Promise.race([ended.then(() => true), sleep(downMs, false, { ref: false })]);
    if (!inTime) {
      daemon.kill('SIGKILL');
      await ended;
    }
  }
  await unmountBelow(directory);
  await rm(directory, { recursive: true, force: true });
}

/** dockerd leaves the network namespace of containers on the host's network mounted. */
async function unmountBelow(directory: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '');
  for (const mount of mounts.filter((path) => path.startsWith(`${directory}/`)).reverse())
    await execa('umount', [mount]);
}
