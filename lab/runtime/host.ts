// SPDX-License-Identifier: BSD-3-Clause

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { CommandFailedError, InterruptedError, MissingPrerequisiteError } from '../errors.ts';
import { installPackages } from './apt.ts';
import { type Launched, ProcessRecords } from './host-processes.ts';
import { buildLabels } from './labels.ts';
import { OutputCollector } from './output.ts';
import { endGroup, signalGroup } from './process-group.ts';
import type {
  Background,
  Labels,
  RunOptions,
  RunResult,
  Runtime,
  StartOptions,
  TaskContext,
  ToolSet,
} from './runtime.ts';
import { terminateThroughSudo } from './through-sudo.ts';
import { packagesOf } from './tools.ts';

/** How long a program gets to end after SIGTERM. */
const graceMs = 5000;

/** Tools run on this machine, each program but a sudo the leader of a process group of its own. */
export class HostRuntime implements Runtime {
  readonly kind = 'host';
  /** Holds a directory a lab. */
  readonly stateRoot: string;
  readonly #lab: string;
  readonly #records: ProcessRecords;
  readonly #prepared = new Set<ToolSet>();
  readonly #running = new Set<number>();
  readonly #onExit = () => {
    // Left at once (second Ctrl-C): nothing asynchronous can happen any more.
    for (const group of this.#running) signalGroup(group, 'SIGKILL');
  };

  /** What runs for `lab` is recorded below its own directory. */
  constructor(lab: string, stateRoot: string) {
    this.#lab = lab;
    this.stateRoot = stateRoot;
    this.#records = new ProcessRecords(stateRoot);
  }

  async prepare(tools: ToolSet, context: TaskContext): Promise<void> {
    if (this.#prepared.has(tools)) return;
    await installPackages(packagesOf(tools), `the tools for ${tools}`, context);
    this.#prepared.add(tools);
  }

  async run(command: readonly string[], options: RunOptions): Promise<RunResult> {
    options.signal.throwIfAborted();
    const asRoot = options.root === true && process.getuid?.() !== 0;
    const argv = asRoot ? ['sudo', '--', ...command] : command;
    if (asRoot) options.progress.note(`As root, through sudo: ${command.join(' ')}`);
    const child = spawn(argv[0], argv.slice(1), {
      cwd: options.cwd,
      env: { ...process.env, LC_ALL: 'C', ...options.env },
      // sudo asks for the password on the terminal that it shares with us; everything else is out of Ctrl-C's reach, so
      // that it is ended in order, whole group by group.
      detached: !asRoot,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    await started(child, command, options.cwd);
    const group = child.pid as number;
    const record = this.#records.add(this.#lab, {
      pid: group,
      labels: buildLabels(this.#lab),
      command,
      ...(asRoot ? { throughSudo: true } : {}),
    });
    if (!asRoot) this.#endsWithUs(group);

    let ending: Promise<void> | undefined;
    const abort = (): void => {
      ending = asRoot ? terminateRecorded(record) : endGroup(group, graceMs);
    };
    options.signal.addEventListener('abort', abort, { once: true });
    const output = new OutputCollector(options);
    child.stdout?.on('data', (chunk: Buffer) => output.write('stdout', chunk));
    child.stderr?.on('data', (chunk: Buffer) => output.write('stderr', chunk));
    if (options.input !== undefined) {
      // A program may well end without reading all of its input.
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(options.input);
    }
    try {
      const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
      if (ending !== undefined) {
        await ending;
        await output.finish();
        throw new InterruptedError();
      }
      const { stdout, stderr, tail } = await output.finish();
      if (code !== 0 && options.reject !== false) {
        const how = signal === null ? `exit code ${code}` : signal;
        throw new CommandFailedError(`${command[0]} failed (${how}).`, {
          command,
          exitCode: code,
          outputTail: tail,
        });
      }
      // As a shell has it: 128 and the signal's number is beyond every exit code of its own.
      return { exitCode: code ?? 128, stdout, stderr };
    } finally {
      options.signal.removeEventListener('abort', abort);
      this.#hasEnded(group);
      this.#records.remove(record);
    }
  }

  async start(command: readonly string[], options: StartOptions): Promise<Background> {
    const { child, launched } = await this.#records.launch(this.#lab, command, options);
    await started(child, command, options.cwd);
    return this.#records.background(launched);
  }

  async find(labels: Labels): Promise<Background[]> {
    return this.#records.find(labels).map((record: Launched) => this.#records.background(record));
  }

  /** End builds whose zufs-lab was killed before it could. */
  async reapOrphans(): Promise<number> {
    return await this.#records.reapOrphans();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#onExit);
  }

  /** Only while something runs is there anything to do at exit: many runtimes may be about that only look for programs. */
  #endsWithUs(group: number): void {
    if (this.#running.size === 0) process.on('exit', this.#onExit);
    this.#running.add(group);
  }

  #hasEnded(group: number): void {
    this.#running.delete(group);
    if (this.#running.size === 0) process.off('exit', this.#onExit);
  }
}

/** Resolves once `child` runs; a program that does not exist is a missing prerequisite. */
async function started(child: ChildProcess, command: readonly string[], cwd: string): Promise<void> {
  try {
    await once(child, 'spawn');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new MissingPrerequisiteError(
      `${command[0]} is not installed, or the directory ${cwd} does not exist.`,
      {
        hint: '`zufs-lab doctor` says what is missing and how to install it.',
        cause: error,
      },
    );
  }
}

/** Ctrl-C has reached it on the terminal already; other signals come to us alone. */
async function terminateRecorded({ identity }: Launched): Promise<void> {
  if (identity !== undefined) await terminateThroughSudo(identity);
}
