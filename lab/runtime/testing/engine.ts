// SPDX-License-Identifier: BSD-3-Clause

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { defaultCacheRoot } from '../../paths.ts';
import { installPackages } from '../apt.ts';
import { type Engine, findEngine } from '../engine.ts';
import { quietContext } from './context.ts';
import { Daemon, NoDaemonError } from './daemon.ts';

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
  const directory = await mkdtemp(join(tmpdir(), 'zufs-engine-'));
  try {
    const { daemon, engine } = await Daemon.start({
      directory,
      dataRoot: testEngineData(),
      arguments: ['--bridge=none', '--iptables=false', '--ip6tables=false'],
    });
    const end = async () => {
      await daemon[Symbol.asyncDispose]();
      await removeDirectory(directory);
    };
    return { engine, address: engine.address, [Symbol.asyncDispose]: end };
  } catch (error) {
    await removeDirectory(directory);
    if (error instanceof NoDaemonError) return { skip: error.message };
    throw error;
  }
}

/** What engines of tests keep their images in: the builder image is made once. */
export function testEngineData(): string {
  return join(defaultCacheRoot(process.env), 'test-engine');
}

async function removeDirectory(directory: string): Promise<void> {
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
