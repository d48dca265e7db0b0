// SPDX-License-Identifier: BSD-3-Clause

import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { GuestExecOptions, GuestResult, Vm, VmHealth } from '../vm.ts';

/** A VM that is played: `run` is its programs; its files are those of `directory`. */
export class PlayedVm implements Vm {
  readonly name = 'played';
  readonly consoleLog: string;
  readonly #directory: string;
  state: VmHealth = { state: 'running' };
  run: (command: readonly string[], options: GuestExecOptions) => Promise<GuestResult> = async () =>
    succeeded;

  constructor(directory: string) {
    this.#directory = directory;
    this.consoleLog = join(directory, 'console.log');
  }

  async exec(command: readonly string[], options: GuestExecOptions = {}): Promise<GuestResult> {
    return await this.run(command, options);
  }

  async upload(hostPath: string, guestPath: string): Promise<void> {
    await cp(hostPath, join(this.#directory, guestPath), { recursive: true });
  }

  async download(guestPath: string, hostPath: string): Promise<void> {
    await writeFile(hostPath, await readFile(join(this.#directory, guestPath)));
  }

  async health(): Promise<VmHealth> {
    return this.state;
  }
}

/** Of a program that says nothing. */
export const succeeded: GuestResult = { exitCode: 0, stdout: '', stderr: '' };
