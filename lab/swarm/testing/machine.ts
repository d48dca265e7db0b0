// SPDX-License-Identifier: BSD-3-Clause

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';

const startMs = 5000;

/**
 * What passes for a machine of its own with a container engine: its network, host name, mounts and processes are no other's. The
 * kernel ends all of it with its first process, and that one with the process that started it, however it ends.
 */
export class Machine implements AsyncDisposable {
  readonly name: string;
  readonly #first: ChildProcess;

  private constructor(name: string, first: ChildProcess) {
    this.name = name;
    this.#first = first;
  }

  /** Rejects where namespaces cannot be made. */
  static async start(name: string): Promise<Machine> {
    const first = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', 'unshare', '--net', '--uts', '--mount', '--pid', '--mount-proc'],
        ...['--fork', '--kill-child', 'sleep', 'infinity'],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], detached: true },
    );
    first.on('error', () => undefined);
    const machine = new Machine(name, first);
    try {
      await machine.#isThere();
      await execa('nsenter', [...machine.#enter('--uts'), 'hostname', name]);
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What has to come before a program for it to run there. */
  get through(): readonly string[] {
    // Processes that unshare(1) forks are in its new one, itself is not.
    const pids = `--pid=/proc/${this.#first.pid}/ns/pid_for_children`;
    return ['nsenter', ...this.#enter('--net', '--uts', '--mount', pids)];
  }

  /** Of its network alone: /proc is that of the test. */
  async ip(...args: readonly string[]): Promise<void> {
    await execa('nsenter', [...this.#enter('--net'), 'ip', ...args]);
  }

  /** Join the two by a cable, at these addresses of one network. */
  async connect(other: Machine, addresses: readonly [string, string]): Promise<void> {
    const cable = ['type', 'veth', 'peer', 'name', 'cable', 'netns', `${other.#first.pid}`];
    await this.ip('link', 'add', 'cable', ...cable);
    const ends = [
      { machine: this, address: addresses[0], peer: addresses[1] },
      { machine: other, address: addresses[1], peer: addresses[0] },
    ];
    for (const { machine, address, peer } of ends) {
      await machine.ip('link', 'set', 'lo', 'up');
      await machine.ip('address', 'add', `${address}/24`, 'dev', 'cable');
      await machine.ip('link', 'set', 'cable', 'up');
      // An engine asks for one, wherever it leads.
      await machine.ip('route', 'add', 'default', 'via', peer);
    }
  }

  /** As a power cut does it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { pid, exitCode, signalCode } = this.#first;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const ended = once(this.#first, 'exit');
    this.#first.kill('SIGKILL');
    await ended;
  }

  #enter(...namespaces: readonly string[]): readonly string[] {
    return [`--target=${this.#first.pid}`, ...namespaces];
  }

  /** Until its first process has come: by then the namespaces are there. */
  async #isThere(): Promise<void> {
    const { pid } = this.#first;
    let said = '';
    this.#first.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const deadline = performance.now() + startMs;
    const own = await readlink('/proc/self/ns/pid');
    while (pid !== undefined && this.#first.exitCode === null && performance.now() < deadline) {
      const theirs = await readlink(`/proc/${pid}/ns/pid_for_children`).catch(() => own);
      // Set by unshare(1); that what it forks has mounted /proc follows within milliseconds, and dockerd takes longer to look.
      if (theirs !== own) return;
      await sleep(20);
    }
    throw new Error(said.trim() || 'unshare does not start');
  }
}
