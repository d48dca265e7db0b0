// SPDX-License-Identifier: BSD-3-Clause

import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { LabError } from '../errors.ts';

/** A container engine that answered. */
export interface Engine {
  readonly docker: Docker;
  /** Where: a socket, or what DOCKER_HOST says. */
  readonly address: string;
  readonly version: string;
}

/** One place that was looked at. */
export interface Attempt {
  readonly address: string;
  /** Why it is not used, in a few words. */
  readonly problem: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** An engine that takes longer to answer is as good as none; one that is busy with layers takes seconds. */
const answerMs = 10_000;

/** The first engine that answers: DOCKER_HOST alone where that is set, else the usual sockets of Docker, then of Podman. */
export async function findEngine(
  environment: Environment,
): Promise<{ readonly engine: Engine | undefined; readonly tried: readonly Attempt[] }> {
  const tried: Attempt[] = [];
  for (const address of addresses(environment)) {
    try {
      return { engine: await connect(address), tried };
    } catch (error) {
      tried.push({ address, problem: problemOf(error) });
    }
  }
  return { engine: undefined, tried };
}

export function noEngineError(tried: readonly Attempt[]): LabError {
  const denied = tried.find((attempt) => attempt.problem === 'permission denied');
  return new LabError(
    `No container engine answers: ${tried.map(({ address, problem }) => `${address}: ${problem}`).join('; ')}.`,
    {
      hint:
        denied === undefined
          ? 'Start one (sudo systemctl start docker), or use --runtime host.'
          : 'Join its group (sudo adduser $USER docker, then log in anew), or use --runtime host.',
    },
  );
}

function addresses(environment: Environment): string[] {
  const { DOCKER_HOST: host, XDG_RUNTIME_DIR: runtimeDirectory } = environment;
  if (host !== undefined && host !== '') return [host];
  const sockets = ['/var/run/docker.sock'];
  if (runtimeDirectory !== undefined) sockets.push(join(runtimeDirectory, 'docker.sock'));
  if (runtimeDirectory !== undefined) sockets.push(join(runtimeDirectory, 'podman', 'podman.sock'));
  sockets.push('/run/podman/podman.sock');
  return sockets.map((path) => `unix://${path}`);
}

async function connect(address: string): Promise<Engine> {
  const url = URL.parse(address);
  if (url === null) throw new Error('no address of the form unix://… or tcp://…');
  if (url.protocol === 'unix:') await access(url.pathname);
  else if (!isThisMachine(url)) throw new Error('another machine, which cannot see the files of this one');
  // Loaded here, when there is something to connect to: it is the largest of all that the command line loads.
  const { default: DockerClient } = await import('dockerode');
  const where: Docker.DockerOptions =
    url.protocol === 'unix:'
      ? { socketPath: url.pathname }
      : { protocol: 'http', host: url.hostname, port: url.port === '' ? 2375 : Number(url.port) };
  // An engine that accepts and then falls silent has not answered; work itself has no such limit.
  const version = await new DockerClient({ ...where, timeout: answerMs }).version();
  return { docker: new DockerClient(where), address, version: version.Version };
}

function isThisMachine(url: URL): boolean {
  return url.protocol === 'tcp:' && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
}

function problemOf(error: unknown): string {
  const { code, message, name } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
      return 'not there';
    case 'EACCES':
      return 'permission denied';
    case 'ECONNREFUSED':
      return 'nobody listens';
    default:
      return /abort|timeout|socket hang up/i.test(`${name} ${message}`)
        ? `no answer within ${answerMs / 1000} s`
        : message;
  }
}
