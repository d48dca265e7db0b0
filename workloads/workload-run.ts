// SPDX-License-Identifier: BSD-3-Clause

import { appendFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabContext } from '../lab/context.ts';
import { checkFileSystem, mountFileSystem, unmountFileSystem } from '../lab/deploy/filesystem.ts';
import { ConsoleAlarms } from '../lab/test-run/console-alarms.ts';
import { describeHealth, killedFromOutside } from '../lab/test-run/lost-vm.ts';
import type { TestOutcome } from '../lab/test-run/verdict.ts';
import { type Length, limitOf, secondsOf, type Workload } from './definition.ts';
import type { WorkloadLab, WorkloadVm } from './lab.ts';

/** In the guest: programs and what they need, outside of the mount. */
export const shared = '/var/lib/zufs-workloads';
/** There: the programs. */
export const programs = `${shared}/programs`;

/** A workload that is to be run. */
export interface WorkloadOrder {
  readonly workload: Workload;
  readonly length: Length;
  /** What the guest has to have: files and directories of this machine, by their place there. */
  readonly files: ReadonlyMap<string, string>;
  /** Directory of the run on this machine. */
  readonly directory: string;
}

/** What a program ended with: nothing, or why it did not pass. */
type Ended =
  | {
      readonly status: 'failed' | 'hung' | 'crashed';
      readonly reason: string;
      /** The VM went for reasons of its own, or of its machine's. */
      readonly killed?: boolean;
    }
  | undefined;

interface PhaseOptions {
  /** The program says that it is at work. */
  readonly onRunning?: () => void;
  /** Nobody waits for its end any more. */
  readonly abandoned?: AbortSignal;
}

/** After its VM was killed: time for what a program printed to get here. */
const lastWordsMs = 1000;

export interface WorkloadResult {
  readonly outcome: TestOutcome;
  /** The VM was killed from outside, so that this says nothing about the workload. */
  readonly killed: boolean;
  /** What its guest's kernel said besides, in sentences. */
  readonly events: readonly string[];
}

/**
 * Run one workload in the VM of `lab`, which is up, and look at what it leaves. Rejects when it is the lab that fails; a VM that is
 * lost is an outcome.
 */
export async function runWorkload(
  context: LabContext,
  lab: WorkloadLab,
  at: WorkloadVm,
  order: WorkloadOrder,
): Promise<WorkloadResult> {
  return await new WorkloadRun(context, lab, at, order).result();
}

class WorkloadRun {
  readonly #context: LabContext;
  readonly #lab: WorkloadLab;
  readonly #workload: Workload;
  readonly #length: Length;
  readonly #files: ReadonlyMap<string, string>;
  readonly #output: string;
  readonly #deadline: AbortSignal;
  readonly #directory: string;
  readonly #events: string[] = [];
  /** The VM that it has now. */
  #at: WorkloadVm;
  #alarms: ConsoleAlarms | undefined;
  #complaint: Ended;
  #acknowledged = '0';

  constructor(context: LabContext, lab: WorkloadLab, at: WorkloadVm, order: WorkloadOrder) {
    const { workload, length, files, directory } = order;
    this.#context = context;
    this.#lab = lab;
    this.#at = at;
    this.#workload = workload;
    this.#length = length;
    this.#files = files;
    this.#output = join(directory, `${workload.name}.out`);
    this.#deadline = AbortSignal.timeout(limitOf(workload, length) * 1000);
    this.#directory = posix.join(at.plan.target, workload.name);
  }

  async result(): Promise<WorkloadResult> {
    const from = performance.now();
    const ended = await this.#run().catch((error: unknown) => this.#lost(error));
    const seconds = Math.round(performance.now() - from) / 1000;
    const { status, reason, killed = false } = ended ?? { status: 'passed', reason: '' };
    // What it leaves behind when it does not pass is nothing to go on with.
    if (status !== 'passed') {
      await this.#lab.distrust(this.#context, `${this.#workload.name}: ${reason}`);
    }
    const outcome = { name: this.#workload.name, status, seconds, reason };
    return { outcome, killed, events: this.#events };
  }

  async #run(): Promise<Ended> {
    await this.#provide();
    this.#alarms = await ConsoleAlarms.from(this.#at.vm.consoleLog);
    await this.#exec(['rm', '-rf', this.#directory]);
    const bad = this.#workload.crash ? await this.#crash() : await this.#toTheEnd();
    await this.#listen();
    return this.#complaint ?? bad ?? (await this.#clean());
  }

  /** What became of the VM, when that is why something was not to be done. */
  async #lost(error: unknown): Promise<Ended> {
    this.#context.signal.throwIfAborted();
    const health = await this.#at.vm.health();
    if (health.state === 'running') throw error;
    await this.#listen();
    if (this.#complaint !== undefined) return this.#complaint;
    return { status: 'crashed', reason: describeHealth(health), killed: killedFromOutside(health) };
  }

  /** What the guest's kernel has said since the last time. */
  async #listen(): Promise<void> {
    // After this the console of one elsewhere is here, too.
    await this.#at.vm.health();
    for (const { kind, line } of (await this.#alarms?.look()) ?? []) {
      if (kind === 'stall')
        this.#events.push(`During ${this.#workload.name} the guest's kernel said: ${line}`);
      else this.#complaint ??= { status: kind, reason: line };
    }
  }

  /** Every boot begins with the root disk of the image, so that a VM has nothing of the one before. */
  async #provide(): Promise<void> {
    const { vm } = this.#at;
    for (const [to, from] of this.#files) {
      // Programs are small, and may have changed under a lab that was kept.
      const large = to !== programs;
      if (large && (await vm.exec(['test', '-e', to], { signal: this.#context.signal })).exitCode === 0)
        continue;
      this.#context.progress.update(`copying ${posix.basename(to)} to the guest`);
      await vm.upload(from, to, this.#context);
    }
  }

  async #toTheEnd(): Promise<Ended> {
    const { signal } = this.#context;
    const { vm, plan } = this.#at;
    return (
      (await this.#phase('run')) ??
      (await this.#asVerdict(async () => {
        await unmountFileSystem(vm, plan.target, signal);
        await mountFileSystem(vm, plan, signal);
      })) ??
      (await this.#phase('verify'))
    );
  }

  /** Let it run, kill the VM in the middle, and look at what is left. */
  async #crash(): Promise<Ended> {
    const seconds = secondsOf(this.#workload, this.#length);
    const { promise: timeIsUp, resolve } = Promise.withResolvers<'kill'>();
    const abandon = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const onRunning = (): void => {
      timer ??= setTimeout(resolve, seconds * 1000, 'kill');
    };
    const started = this.#phase('start', { onRunning, abandoned: abandon.signal });
    try {
      const end = await Promise.race([started, timeIsUp]);
      if (end !== 'kill') return end ?? { status: 'failed', reason: 'it ended before the VM was killed' };
    } finally {
      clearTimeout(timer);
    }
    await this.#listen();
    this.#context.progress.update(`killed after ${this.#acknowledged} were acknowledged, booting anew`);
    this.#at = await this.#lab.crash(this.#context);
    // It was at work to the last: what it acknowledged is here only by now.
    await Promise.race([started.catch(() => undefined), sleep(lastWordsMs)]);
    abandon.abort();
    // A new boot has a new console.
    this.#alarms = await ConsoleAlarms.whole(this.#at.vm.consoleLog);
    await this.#provide();
    const { vm, plan } = this.#at;
    return (
      (await this.#asVerdict(() => mountFileSystem(vm, plan, this.#context.signal))) ??
      (await this.#phase('check'))
    );
  }

  /** Call the program. Rejects when that cannot be done. */
  async #phase(phase: string, { onRunning, abandoned }: PhaseOptions = {}): Promise<Ended> {
    const { signal, progress } = this.#context;
    const { program } = this.#workload;
    const lines: string[] = [];
    let rest = '';
    progress.update(phase);
    const take = (chunk: string): void => {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) {
        const acknowledged = /^acknowledged (\d+)$/.exec(line)?.[1];
        if (acknowledged !== undefined) this.#acknowledged = acknowledged;
        else lines.push(line);
        if (line === 'running') onRunning?.();
        progress.update(line);
      }
    };
    const interpreter = program.endsWith('.js') ? 'node' : 'bash';
    try {
      const { exitCode } = await this.#at.vm.exec([interpreter, `${programs}/${program}`, phase], {
        signal: AbortSignal.any([signal, this.#deadline, ...(abandoned === undefined ? [] : [abandoned])]),
        env: {
          DIRECTORY: this.#directory,
          TIME: String(secondsOf(this.#workload, this.#length)),
          SHORT: this.#length.short ? '1' : '0',
          SHARED: shared,
          ACKNOWLEDGED: this.#acknowledged,
        },
        onStdout: take,
        onStderr: take,
      });
      if (exitCode === 0) return undefined;
      const said = [...lines, rest].filter((line) => line.trim() !== '').slice(-5);
      return { status: 'failed', reason: `${phase} ended with ${exitCode}: ${said.reverse().join(' | ')}` };
    } catch (error) {
      signal.throwIfAborted();
      if (!this.#deadline.aborted) throw error;
      const limit = limitOf(this.#workload, this.#length);
      return { status: 'hung', reason: `${phase} did not end within ${limit} s` };
    } finally {
      await appendFile(this.#output, `== ${phase}\n${lines.join('\n')}\n${rest}\n`);
    }
  }

  /** Nothing of it stays, and fsck finds the file system clean. */
  async #clean(): Promise<Ended> {
    const { signal, progress } = this.#context;
    const { vm, plan } = this.#at;
    progress.update('checking the file system');
    return await this.#asVerdict(async () => {
      await unmountFileSystem(vm, plan.target, signal);
      await checkFileSystem(vm, plan, signal);
      await mountFileSystem(vm, plan, signal);
      await this.#exec(['rm', '-rf', this.#directory]);
    });
  }

  /** A file system that does not mount, unmount or pass its check after a workload is that workload's verdict, not a broken lab. */
  async #asVerdict(body: () => Promise<void>): Promise<Ended> {
    try {
      await body();
      return undefined;
    } catch (error) {
      this.#context.signal.throwIfAborted();
      if ((await this.#at.vm.health()).state !== 'running') throw error;
      return { status: 'failed', reason: error instanceof Error ? error.message : String(error) };
    }
  }

  async #exec(command: readonly string[]): Promise<void> {
    await this.#at.vm.exec(command, { signal: this.#context.signal });
  }
}
