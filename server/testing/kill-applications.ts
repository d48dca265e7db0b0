// SPDX-License-Identifier: BSD-3-Clause

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Promised } from './kill-load.ts';
import { Fsstress } from './kill-stress.ts';

/** What an application may take to see that its server is gone. */
const END_SECONDS = 30;
/** First argument of a process that is a worker. */
export const WORK = '--work';
/** What a worker says when it has seen that the server is gone. */
export const STOPPED = 'stopped';

/** A promise that the file system did not keep. */
export class BrokenError extends Error {}

/** What is to work on the mount. */
export interface Load {
  /** How long before the kill, on average. */
  readonly seconds: number;
  /** Processes; all but one are fsstress's, if there is one. */
  readonly workers: number;
  readonly mount: string;
  /** Path of fsstress, or null: all load is our own. */
  readonly fsstress: string | null;
}

/** What works on the mount. Of our own the same processes in all rounds: starting them takes as long as what they do. */
export class Applications implements AsyncDisposable {
  readonly #load: Load;
  readonly #stress: Fsstress | null;
  readonly #children: readonly ChildProcess[];
  #operations = 0;

  constructor(load: Load, promised: Map<string, Promised>) {
    this.#load = load;
    const { fsstress, workers, mount } = load;
    this.#stress = fsstress === null ? null : new Fsstress(fsstress, workers - 1, mount);
    this.#children = Array.from({ length: fsstress === null ? workers : 1 }, (_, number) => {
      const child = spawn(process.execPath, [process.argv[1], WORK, mount, String(number)], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      child.on('message', (message: Promised | typeof STOPPED) => {
        if (message === STOPPED) return;
        this.#operations += message.operations;
        if (message.kind === 'promised') promised.set(message.name, message);
        else promised.delete(message.name);
      });
      return child;
    });
  }

  /** Let them work, and kill the server under them. Returns what they did. */
  async workAndKill(round: number): Promise<number> {
    this.#operations = 0;
    const busy = this.#children.map((child) => next(child, (message) => message !== STOPPED));
    const stopped = this.#children.map((child) => next(child, (message) => message === STOPPED));
    this.#stress?.start(round);
    for (const child of this.#children) child.send(round);
    await Promise.all(busy);
    await pause(this.#load.seconds * 1000 * (0.5 + Math.random()));
    this.#stress?.mustRun();
    process.kill(Number(readFileSync('/run/zus.pid', 'utf8')), 'SIGKILL');
    const ends = Promise.all([...stopped, this.#stress?.end()]);
    const late = pause(END_SECONDS * 1000).then(() => 'late' as const);
    if ((await Promise.race([ends, late])) === 'late')
      throw new BrokenError(
        `round ${round}: applications hang ${END_SECONDS} s after their server was killed`,
      );
    return this.#operations;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    this.#stress?.kill();
  }
}

/** The next message of that kind; an error when the process ends instead. */
function next(child: ChildProcess, isWanted: (message: Promised | typeof STOPPED) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (message: Promised | typeof STOPPED): void => {
      if (!isWanted(message)) return;
      child.off('message', look);
      child.off('exit', fail);
      resolve();
    };
    const fail = (code: number | null, signal: string | null): void =>
      reject(new BrokenError(`an application ended with ${code ?? signal}`));
    child.on('message', look);
    child.on('exit', fail);
  });
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
