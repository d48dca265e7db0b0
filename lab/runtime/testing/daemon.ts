// SPDX-License-Identifier: BSD-3-Clause

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Engine, findEngine } from '../engine.ts';

const upMs = 60_000;
const downMs = 20_000;
/** So long the last processes of an engine before may hold its data after its end. */
const freeSeconds = 5;
/** Exit code of flock(1) for a data root that another engine has: none of dockerd's. */
const inUse = 75;
/** What one that was killed left: dockerd would look for its swarm first, and find nobody. */
const startScript = 'rm -rf "$0/swarm" "$0/network" && exec dockerd --data-root "$0" "$@"';

/** An engine that does not come up: its own last words. */
export class NoDaemonError extends Error {}

export interface DaemonOptions {
  /** Of its own, for socket, log and the like; a short path, since a socket's is limited to 107 bytes. */
  readonly directory: string;
  /** Where its images are kept. */
  readonly dataRoot: string;
  readonly arguments?: readonly string[];
  /** A program that is to start it, with its arguments. */
  readonly through?: readonly string[];
  /** Ask it to end; without: by a signal to what was started. */
  stop?(pidFile: string): Promise<unknown>;
}

/** dockerd that this process started, and that ends with it. */
export class Daemon implements AsyncDisposable {
  readonly address: string;
  readonly #process: ChildProcess;
  readonly #stop: () => Promise<unknown>;

  private constructor(options: DaemonOptions, child: ChildProcess, address: string) {
    this.address = address;
    this.#process = child;
    this.#stop = async () => options.stop?.(pidFileIn(options.directory)) ?? child.kill('SIGTERM');
  }

  /** Rejects with `NoDaemonError` when none comes up. */
  static async start(options: DaemonOptions): Promise<{ readonly daemon: Daemon; readonly engine: Engine }> {
    const { directory, dataRoot, through = [] } = options;
    await mkdir(dataRoot, { recursive: true });
    const address = `unix://${join(directory, 'docker.sock')}`;
    const logFile = join(directory, 'dockerd.log');
    const log = openSync(logFile, 'w');
    const child = spawn(
      'setpriv',
      [
        // A test run that is killed runs no teardown: the daemon ends with it all the same.
        ...['--pdeathsig', 'TERM', ...through],
        ...['flock', '--no-fork', '--timeout', `${freeSeconds}`],
        ...['--conflict-exit-code', `${inUse}`, dataRoot],
        ...['sh', '-c', startScript, dataRoot, '--host', address, '--exec-root', join(directory, 'exec')],
        ...['--pidfile', pidFileIn(directory), ...(options.arguments ?? [])],
      ],
      { stdio: ['ignore', log, log], detached: true },
    );
    closeSync(log);
    child.on('error', () => undefined);
    const daemon = new Daemon(options, child, address);
    const engine = await daemon.#answers();
    if (engine !== undefined) return { daemon, engine };
    if (child.exitCode === inUse) throw new NoDaemonError(`an engine of another test run uses ${dataRoot}`);
    const lastLine = (await readFile(logFile, 'utf8')).trim().split('\n').at(-1);
    await daemon[Symbol.asyncDispose]();
    throw new NoDaemonError(`dockerd does not come up on this machine: ${lastLine}`);
  }

  get #runs(): boolean {
    const { pid, exitCode, signalCode } = this.#process;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  async #answers(): Promise<Engine | undefined> {
    const deadline = performance.now() + upMs;
    while (performance.now() < deadline && this.#runs) {
      const { engine } = await findEngine({ DOCKER_HOST: this.address });
      if (engine !== undefined) return engine;
      await sleep(200);
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#runs) return;
    const ended = once(this.#process, 'exit');
    // dockerd ends its containerd and its containers itself when it is asked to end.
    await this.#stop().catch(() => undefined);
    const inTime = await Promise.race([ended.then(() => true), sleep(downMs, false, { ref: false })]);
    if (inTime) return;
    this.#process.kill('SIGKILL');
    await ended;
  }
}

function pidFileIn(directory: string): string {
  return join(directory, 'dockerd.pid');
}
