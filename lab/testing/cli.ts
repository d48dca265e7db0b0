// SPDX-License-Identifier: BSD-3-Clause

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { packageRoot } from '../paths.ts';

export interface CliResult {
  /** Exit code; null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** `zufs-lab` that runs, as a user would start it. */
export class Cli {
  readonly process: ChildProcess;
  readonly #chunks: Buffer[] = [];
  #stderr = '';
  readonly #waiting = new Set<() => void>();

  /** `env` goes on top of this process's own. */
  constructor(
    args: readonly string[],
    options: { readonly env: NodeJS.ProcessEnv; readonly stdin?: Buffer | string },
  ) {
    this.process = spawn(process.execPath, [join(packageRoot, 'lab/bin/zufs-lab.js'), ...args], {
      env: { ...process.env, ...options.env },
      stdio: [options.stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    this.process.stdin?.on('error', () => undefined).end(options.stdin);
    this.process.stdout?.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      for (const look of this.#waiting) look();
    });
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Resolves once stderr matches; rejects when the program ends first. */
  async says(pattern: RegExp): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (!pattern.test(this.#stderr)) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      this.process.once('close', () => reject(new Error(`it ended without ${pattern}:\n${this.#stderr}`)));
      look();
    });
  }

  async end(): Promise<CliResult> {
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, 'close');
    return { code: this.process.exitCode, stdout: Buffer.concat(this.#chunks), stderr: this.#stderr };
  }
}

/** Run `zufs-lab` to its end. */
export async function runCli(
  args: readonly string[],
  options: { readonly env: NodeJS.ProcessEnv; readonly stdin?: Buffer | string },
): Promise<CliResult> {
  return await new Cli(args, options).end();
}
