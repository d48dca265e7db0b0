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

export interface CliOptions {
  /** The whole environment. */
  readonly env: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly stdin?: Buffer | string;
  /** A program that is to start it, with its arguments. */
  readonly through?: readonly string[];
}

/** A step that takes long (a kernel build) says so in the output of the tests this often. */
const progressMs = 60_000;

/** `zufs-lab` that runs, as a user would start it. */
export class Cli {
  readonly process: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #chunks: Buffer[] = [];
  #stderr = '';
  #lastProgressMs = performance.now();
  readonly #waiting = new Set<() => void>();

  constructor(args: readonly string[], { env, cwd, stdin, through = [] }: CliOptions) {
    const [program, ...words] = [
      ...through,
      process.execPath,
      join(packageRoot, 'lab/bin/zufs-lab.js'),
      ...args,
    ];
    this.process = spawn(program, words, {
      env,
      ...(cwd === undefined ? {} : { cwd }),
      stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    // After its end, when all of its output has come.
    this.#closed = once(this.process, 'close');
    this.process.stdin?.on('error', () => undefined).end(stdin);
    this.process.stdout?.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#showProgress(text);
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
      this.#closed.then(() => reject(new Error(`it ended without ${pattern}:\n${this.#stderr}`)), reject);
      look();
    });
  }

  async end(): Promise<CliResult> {
    await this.#closed;
    return { code: this.process.exitCode, stdout: Buffer.concat(this.#chunks), stderr: this.#stderr };
  }

  #showProgress(text: string): void {
    const now = performance.now();
    if (!/^ *… /.test(text) || now - this.#lastProgressMs < progressMs) return;
    this.#lastProgressMs = now;
    process.stderr.write(text);
  }
}

/** Run `zufs-lab` to its end. */
export async function runCli(args: readonly string[], options: CliOptions): Promise<CliResult> {
  return await new Cli(args, options).end();
}
