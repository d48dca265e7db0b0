// SPDX-License-Identifier: BSD-3-Clause

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync } from 'node:fs';

/** Where the lab's xfstests runner puts it. */
const FSSTRESS = '/var/lib/zufs-lab/xfstests/ltp/fsstress';
/** More than it gets to. */
const OPERATIONS = 100_000_000;

export function findFsstress(): string | null {
  return existsSync(FSSTRESS) ? FSSTRESS : null;
}

/** xfstests' fsstress, in a directory of its own each round. It complains of errors and may go on: it is ended when its server is gone. */
export class Fsstress {
  readonly #program: string;
  readonly #processes: number;
  readonly #mount: string;
  #running: ChildProcess | null = null;

  constructor(program: string, processes: number, mount: string) {
    if (processes < 1) throw new Error('fsstress needs one worker beside ours at least');
    this.#program = program;
    this.#processes = processes;
    this.#mount = mount;
  }

  start(round: number): void {
    const directory = Fsstress.directory(this.#mount, round);
    mkdirSync(directory);
    const words = ['-d', directory, '-p', this.#processes, '-n', OPERATIONS, '-s', round];
    this.#running = spawn(this.#program, words.map(String), { stdio: 'ignore' });
  }

  /** It has not ended by itself: then it would have been no load. */
  mustRun(): void {
    const { exitCode, signalCode } = this.#running ?? {};
    if (exitCode !== null || signalCode !== null)
      throw new Error(`fsstress ended by itself, with ${exitCode ?? signalCode}`);
  }

  /** End it; returns when its processes, which work in the mount, are gone. */
  async end(): Promise<void> {
    const running = this.#running;
    if (running?.pid === undefined) return;
    const gone = once(running, 'exit');
    this.kill();
    await gone;
    // It is the leader of a group of its own, and its processes die with it.
    while (isAlive(-running.pid)) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  kill(): void {
    this.#running?.kill('SIGKILL');
  }

  /** Where it works in a round. */
  static directory(mount: string, round: number): string {
    return `${mount}/fsstress-${round}`;
  }

  /** Remove what a round left. Some of it may be immutable. */
  static forget(mount: string, round: number): void {
    const directory = Fsstress.directory(mount, round);
    if (!existsSync(directory)) return;
    spawnSync('chattr', ['-R', '-f', '-ia', directory]);
    rmSync(directory, { recursive: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
