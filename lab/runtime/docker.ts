// SPDX-License-Identifier: BSD-3-Clause

import { accessSync, existsSync, statSync } from 'node:fs';
import { appendFile, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { finished } from 'node:stream/promises';
import type Docker from 'dockerode';
import { CommandFailedError, InterruptedError, LabError } from '../errors.ts';
import { withLock } from '../lock.ts';
import { obtainBuilderImage } from './builder-image.ts';
import { containerBackground, removeContainer } from './docker-background.ts';
import type { Engine } from './engine.ts';
import type { HostRuntime } from './host.ts';
import { buildLabels, isOrphan, labelOfLab, labelOfRole, labelOfState } from './labels.ts';
import { OutputCollector } from './output.ts';
import type {
  Background,
  Labels,
  Mount,
  RunOptions,
  RunResult,
  Runtime,
  StartOptions,
  TaskContext,
  ToolSet,
} from './runtime.ts';

export interface DockerRuntimeOptions {
  readonly lab: string;
  readonly engine: Engine;
  /** Makes the root of the builder image where no registry is to be had. */
  readonly host: HostRuntime;
  readonly cacheRoot: string;
}

/** What a container that needs packages sees of the machine's own apt set-up, so far as it is there. */
const aptPaths = [
  '/etc/apt',
  '/usr/share/keyrings',
  '/etc/ssl/certs',
  '/usr/share/ca-certificates',
  '/usr/local/share/ca-certificates',
];

/**
 * Root's work (mounting in the root directory of an image) needs one capability beyond the plain set, and that neither the
 * system call filter nor AppArmor forbids it. `Privileged` would ask for every capability, also one that an engine which is
 * itself confined does not have to give.
 */
const mountAccess: Docker.HostConfig = {
  CapAdd: ['SYS_ADMIN'],
  SecurityOpt: ['seccomp=unconfined', 'apparmor=unconfined'],
};

/** How a machine says that it reaches the network through a proxy. */
const proxyVariables = ['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'];

/** Each program runs in a container of its own, made from one builder image that holds the tools of every tool set. */
export class DockerRuntime implements Runtime {
  readonly kind = 'docker';
  readonly #options: DockerRuntimeOptions;
  readonly #docker: Docker;
  #image: string | undefined;

  constructor(options: DockerRuntimeOptions) {
    this.#options = options;
    this.#docker = options.engine.docker;
  }

  async prepare(_tools: ToolSet, context: TaskContext): Promise<void> {
    if (this.#image !== undefined) return;
    const { cacheRoot, host } = this.#options;
    await mkdir(cacheRoot, { recursive: true });
    await withLock(
      join(cacheRoot, 'builder-image.lock'),
      'another zufs-lab to make the builder image',
      context,
      async () => {
        this.#image = await obtainBuilderImage(this.#docker, host, cacheRoot, context);
      },
    );
  }

  async run(command: readonly string[], options: RunOptions): Promise<RunResult> {
    await this.prepare(options.tools, options);
    options.signal.throwIfAborted();
    const network = options.network === true;
    const container = await this.#create(command, {
      cwd: options.cwd,
      env: { ...options.env, ...(network ? proxyEnvironment() : {}) },
      user: options.root === true ? '0:0' : userAndGroup(),
      labels: buildLabels(this.#options.lab),
      mounts: [
        ...(options.mounts ?? []),
        ...(network
          ? aptPaths.filter((path) => existsSync(path)).map((path) => ({ path, writable: false }))
          : []),
      ],
      openStdin: options.input !== undefined,
      hostConfig: {
        AutoRemove: true,
        ...(options.root === true ? mountAccess : {}),
        NetworkMode: network ? 'host' : 'none',
      },
    });
    return await this.#runToEnd(container, command, options);
  }

  async start(command: readonly string[], options: StartOptions): Promise<Background> {
    const image = this.#image;
    if (image === undefined) throw new Error('prepare() has to come before start().');
    const labels = { [labelOfLab]: this.#options.lab, ...options.labels };
    // Output has to reach the file also when no zufs-lab is there to carry it, so a shell in the container puts it there.
    // The command itself is passed as arguments. That shell comes to its first line some time after start() returned.
    await appendFile(options.logFile, '');
    const redirect = ['sh', '-c', 'log=$1; shift; exec "$@" >>"$log" 2>&1', 'sh', options.logFile];
    const container = await this.#create([...redirect, ...command], {
      cwd: options.cwd,
      env: {},
      user: userAndGroup(),
      labels,
      mounts: [...(options.mounts ?? []), { path: dirname(options.logFile), writable: true }],
      openStdin: false,
      hostConfig: {
        // Ports that the program opens on 127.0.0.1 are then those of the host, with nothing in between to publish more.
        NetworkMode: (options.ports ?? []).length > 0 ? 'host' : 'none',
        ...(options.kvm === true ? kvmAccess() : {}),
      },
    });
    try {
      await container.start();
    } catch (error) {
      await removeContainer(container);
      throw engineError(error, command);
    }
    return containerBackground(container, labels);
  }

  async find(labels: Labels): Promise<Background[]> {
    // Labs of other users of the engine, and those of tests, may have the same names.
    const found = await this.#list({ ...labels, [labelOfState]: this.#options.host.stateRoot });
    return found.map((info) => containerBackground(this.#docker.getContainer(info.Id), info.Labels));
  }

  /** Remove containers of builds whose zufs-lab was killed before it could. */
  async reapOrphans(): Promise<number> {
    const builds = await this.#list({ [labelOfRole]: 'build' });
    const orphans = builds.filter((info) => isOrphan(info.Labels));
    for (const orphan of orphans) await removeContainer(this.#docker.getContainer(orphan.Id));
    return orphans.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#options.host[Symbol.asyncDispose]();
  }

  async #list(labels: Labels): Promise<Docker.ContainerInfo[]> {
    const label = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    return await this.#docker.listContainers({ all: true, filters: { label } });
  }

  async #create(
    command: readonly string[],
    options: {
      readonly cwd: string;
      readonly env: Readonly<Record<string, string>>;
      readonly user: string;
      readonly labels: Labels;
      readonly mounts: readonly Mount[];
      readonly openStdin: boolean;
      readonly hostConfig: Docker.HostConfig;
    },
  ): Promise<Docker.Container> {
    const env = { LC_ALL: 'C', HOME: '/tmp', ...options.env };
    return await this.#docker.createContainer({
      Image: this.#image ?? '',
      Cmd: [...command],
      WorkingDir: options.cwd,
      Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
      User: options.user,
      Labels: { ...options.labels, [labelOfState]: this.#options.host.stateRoot },
      OpenStdin: options.openStdin,
      StdinOnce: options.openStdin,
      AttachStdin: options.openStdin,
      AttachStdout: true,
      AttachStderr: true,
      HostConfig: {
        ...options.hostConfig,
        Binds: binds([{ path: options.cwd, writable: true }, ...options.mounts]),
      },
    });
  }

  async #runToEnd(
    container: Docker.Container,
    command: readonly string[],
    options: RunOptions,
  ): Promise<RunResult> {
    let ending: Promise<void> | undefined;
    const abort = (): void => {
      ending = removeContainer(container);
    };
    const output = new OutputCollector(options);
    try {
      const stream = await container.attach({
        stream: true,
        stdin: options.input !== undefined,
        stdout: true,
        stderr: true,
        hijack: options.input !== undefined,
      });
      const drained = this.#drain(stream, output);
      // Before the start: a container that removes itself may be gone by the time one asks.
      const ended = container.wait({ condition: 'removed' }) as Promise<{ StatusCode: number }>;
      ended.catch(() => undefined);
      options.signal.addEventListener('abort', abort, { once: true });
      if (options.signal.aborted) abort();
      else await container.start();
      if (options.input !== undefined) stream.end(options.input);
      const { StatusCode: exitCode } = await ended;
      await drained;
      const { stdout, stderr, tail } = await output.finish();
      if (exitCode !== 0 && options.reject !== false && ending === undefined) {
        throw new CommandFailedError(`${command[0]} failed (exit code ${exitCode}).`, {
          command,
          exitCode,
          outputTail: tail,
        });
      }
      if (ending === undefined) return { exitCode, stdout, stderr };
    } catch (error) {
      if (ending === undefined) {
        await removeContainer(container);
        throw engineError(error, command);
      }
      // The abort itself makes the requests under way fail.
    } finally {
      options.signal.removeEventListener('abort', abort);
      await ending;
    }
    throw new InterruptedError();
  }

  /** Split what the engine sends into the program's stdout and stderr; resolves at its end. */
  async #drain(stream: NodeJS.ReadWriteStream, output: OutputCollector): Promise<void> {
    const stdout = new PassThrough().on('data', (chunk: Buffer) => output.write('stdout', chunk));
    const stderr = new PassThrough().on('data', (chunk: Buffer) => output.write('stderr', chunk));
    this.#docker.modem.demuxStream(stream, stdout, stderr);
    await finished(stream, { writable: false }).catch(() => undefined);
    stdout.end();
    stderr.end();
    await Promise.all([finished(stdout), finished(stderr)]);
  }
}

/**
 * Each path once, writable if any of its mounts is, and none below another that gives as much: files can then be linked and
 * moved between them, which no two mounts allow.
 */
export function binds(mounts: readonly Mount[]): string[] {
  const modes = new Map<string, boolean>();
  for (const { path, writable } of mounts) modes.set(path, writable || modes.get(path) === true);
  const covered = ([path, writable]: [string, boolean]): boolean =>
    [...modes].some(([other, mode]) => path !== other && path.startsWith(`${other}/`) && (mode || !writable));
  return [...modes]
    .filter((mount) => !covered(mount))
    .map(([path, writable]) => `${path}:${path}:${writable ? 'rw' : 'ro'}`);
}

/** Files that a container writes belong to whoever runs the lab. */
function userAndGroup(): string {
  return `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
}

/** /dev/kvm, and its group for users other than root. */
function kvmAccess(): Docker.HostConfig {
  const device = '/dev/kvm';
  try {
    accessSync(device);
  } catch {
    return {};
  }
  return {
    Devices: [{ PathOnHost: device, PathInContainer: device, CgroupPermissions: 'rw' }],
    GroupAdd: [String(statSync(device).gid)],
  };
}

function proxyEnvironment(): Record<string, string> {
  const set = proxyVariables.flatMap((name): [string, string][] => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  });
  return Object.fromEntries(set);
}

/** What the engine refuses, as an error of the lab; everything else as it is. */
function engineError(error: unknown, command: readonly string[]): unknown {
  if (!(error instanceof Error) || error instanceof LabError) return error;
  const status = (error as Error & { statusCode?: number }).statusCode;
  if (status === undefined && !('code' in error)) return error;
  return new LabError(`The container engine could not run ${command[0]}: ${error.message.trim()}.`, {
    cause: error,
  });
}
