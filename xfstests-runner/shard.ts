// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { LabError } from '../lab/errors.ts';
import type { Vm } from '../lab/vm/vm.ts';
import {
  type AttemptResult,
  attemptTests,
  type Casualty,
  defaultTiming,
  lostBefore,
  type VmLost,
  type WatchdogTiming,
  whyLost,
} from './attempt.ts';
import type { Bundle } from './bundle.ts';
import type { PrintedVerdict } from './check-output.ts';
import type { FileSystemProfile, RunDevices } from './filesystems.ts';
import {
  deployBundle,
  execChecked,
  fetchResults,
  GUEST_CONFIG,
  guestResults,
  guestScript,
  mountTestAgain,
  prepareFileSystems,
} from './guest.ts';
import { lateLeak } from './leaks.ts';
import { localConfig } from './local-config.ts';
import { recordPhase, timed } from './phases.ts';
import type { QueueWorker } from './queue.ts';
import { hasBadOutput, readResultXml, reconcile } from './result-files.ts';
import type { TestOutcome } from './verdict.ts';

/** A VM that can run tests: mounted and ready. */
export interface ReadyVm {
  readonly vm: Vm;
  readonly devices: RunDevices;
}

/** A VM that runs tests, and what to do when it is lost. */
export interface ShardVm extends ReadyVm {
  /** Seconds that it took to come up; undefined when that is not known. */
  readonly bootSeconds?: number;
  /** The machine that it is on; left out for this one. */
  node?(): string;
  /**
   * A VM in place of one that was lost; the rest of the tests goes on there. Without it a lost VM ends the shard. One that it would
   * only be waiting for is not wanted any more once `signal` aborts.
   */
  revive?(signal: AbortSignal): Promise<ReadyVm>;
  /** The shard is through with it. */
  release?(): void;
}

export interface ShardOptions extends ShardVm {
  /** '' for the only one of a run, else what sets its files apart from those of the others. */
  readonly label: string;
  readonly bundle: Bundle;
  /** Where its tests come from. */
  readonly queue: QueueWorker;
  readonly fileSystem: FileSystemProfile;
  readonly mounts: { readonly test: string; readonly scratch: string };
  /** Seconds that tests made to run for a while are to take; undefined for their own default. */
  readonly soak: number | undefined;
  /** Directory of the run on the host. */
  readonly directory: string;
  readonly timing?: WatchdogTiming;
  /** Seconds `test` may take. */
  limit(test: string): number;
  onStarted(test: string): void;
  /** First what was printed; again, when the files of the attempt have been looked at and tell otherwise. */
  onOutcome(outcome: TestOutcome, stage: 'printed' | 'settled', node: string | undefined): void;
}

/** What became of a shard beside the outcomes that were reported. */
export interface ShardResult {
  /** What went wrong with the lab, in sentences. */
  readonly problems: readonly string[];
  /** What went wrong and was made good. */
  readonly events: readonly string[];
  /** Why its last VM was lost, if it could not be replaced: one of the lab's problems, unless others ran the rest. */
  readonly lost?: string;
}

/** Run tests of the queue until it has no more. Interrupted, it resolves with what it has. */
export async function runShard(options: ShardOptions, context: LabContext): Promise<ShardResult> {
  return await new Shard(options, context).run();
}

/** A VM that is lost before it came to any test may have had bad luck; when the next one is too, that is no luck. */
const fruitlessLosses = 2;

class Shard {
  readonly #options: ShardOptions;
  readonly #context: LabContext;
  readonly #outcomes = new Map<string, TestOutcome>();
  readonly #problems: string[] = [];
  readonly #events: string[] = [];
  #vm: Vm;
  #devices: RunDevices;
  #lost: string | undefined;
  /** Whether its kernel looks for leaks: known once the guest has what it needs. */
  #kmemleak: boolean | undefined;
  /** VMs lost one after the other in which no test got anywhere. */
  #fruitless = 0;
  /** Fetching of a failed test's files, one after the other beside the next tests. */
  #fetching: Promise<void> = Promise.resolve();
  #stopFetching = new AbortController();

  constructor(options: ShardOptions, context: LabContext) {
    this.#options = options;
    this.#context = context;
    this.#vm = options.vm;
    this.#devices = options.devices;
  }

  async run(): Promise<ShardResult> {
    try {
      await this.#attempts();
    } catch (error) {
      if (!this.#context.signal.aborted) throw error;
    }
    return {
      problems: this.#problems,
      events: this.#events,
      ...(this.#lost === undefined ? {} : { lost: this.#lost }),
    };
  }

  async #attempts(): Promise<void> {
    const { bootSeconds, directory, label: shard } = this.#options;
    if (bootSeconds !== undefined) recordPhase(directory, { phase: 'boot', shard, seconds: bootSeconds });
    // Nothing may be left for a VM in place of a lost one.
    let tested = false;
    for (let attempt = 1; ; attempt += 1) {
      const tests = await this.#options.queue.take(this.#context.signal);
      if (tests.length === 0) {
        if (tested) await this.#lookForLeaks();
        return;
      }
      const result = await this.#fetched(attempt, await this.#attempt(attempt, tests));
      await this.#settle(attempt, tests, result);
      const { end } = result;
      this.#events.push(...result.remarks);
      if (end.kind === 'interrupted') return;
      tested = end.kind === 'complete';
      if (end.kind === 'complete') {
        this.#judgeExitCode(tests, result);
        await this.#mountTestAgain();
        continue;
      }
      this.#fruitless = result.seconds.size > 0 || end.spared !== undefined ? 0 : this.#fruitless + 1;
      this.#options.queue.giveBack(tests.filter((test) => !this.#outcomes.has(test)));
      if (!(await this.#replaceVm(end))) return;
    }
  }

  /** Get another VM in place of the lost one, as soon as there is anything to run on it. */
  async #replaceVm({ reason, spared }: VmLost): Promise<boolean> {
    const { directory, label: shard, queue, revive } = this.#options;
    const { signal, progress } = this.#context;
    if (!(await queue.isWanted(signal))) return false;
    this.#lost = `The VM was lost: ${reason}`;
    if (revive === undefined || !(await this.#mayGoOn())) return false;
    const done = new AbortController();
    void queue.done.then(() => done.abort());
    try {
      const another = await timed(directory, { phase: 'boot', shard }, () =>
        revive(AbortSignal.any([signal, done.signal])),
      );
      this.#vm = another.vm;
      this.#devices = another.devices;
      this.#kmemleak = undefined;
    } catch (error) {
      signal.throwIfAborted();
      const why = error instanceof Error ? error.message : String(error);
      if (!done.signal.aborted) this.#lost += `, and none took its place: ${why}`;
      return false;
    }
    this.#lost = undefined;
    const again = spared === undefined ? '' : `, and ${spared} once more`;
    const event = `The VM was lost (${reason}); another took the rest${again}.`;
    this.#events.push(event);
    progress.note(event);
    return true;
  }

  /** Machines go for reasons of their own; a VM that is lost on one that stays would be lost again in the same way. */
  async #mayGoOn(): Promise<boolean> {
    if (this.#fruitless < fruitlessLosses) return true;
    const health = await this.#vm.health().catch(() => undefined);
    return health?.state === 'node-lost';
  }

  async #attempt(attempt: number, tests: readonly string[]): Promise<AttemptResult> {
    const { directory, label: shard } = this.#options;
    const { signal, progress } = this.#context;
    progress.update('preparing the guest');
    try {
      await timed(directory, { phase: 'prepare', shard }, () => this.#prepare(attempt));
    } catch (error) {
      return await this.#endedBefore(error);
    }
    progress.update(`starting check for ${tests.length} tests`);
    const result = await timed(directory, { phase: 'check', shard }, () =>
      attemptTests({
        vm: this.#vm,
        attempt,
        tests,
        signal,
        limit: (test) => this.#options.limit(test),
        spares: (test) => this.#options.queue.spares(test),
        onStarted: (test) => this.#options.onStarted(test),
        onFinished: (test, verdict, seconds) => this.#testFinished(attempt, test, verdict, seconds),
        ...(this.#options.timing === undefined ? {} : { timing: this.#options.timing }),
      }),
    );
    await writeFile(join(directory, `check-${this.#label(attempt)}.out`), result.output);
    return result;
  }

  async #prepare(attempt: number): Promise<void> {
    const { fileSystem, mounts } = this.#options;
    const { signal } = this.#context;
    this.#kmemleak ??= await this.#equip();
    await prepareFileSystems(this.#vm, fileSystem, this.#devices, mounts, signal);
    await execChecked(this.#vm, ['rm', '-rf', guestResults(attempt)], { signal });
    const config = localConfig({
      fileSystem,
      devices: this.#devices,
      testDirectory: mounts.test,
      scratchMount: mounts.scratch,
      resultBase: guestResults(attempt),
      kmemleak: this.#kmemleak,
      soak: this.#options.soak,
    });
    await execChecked(this.#vm, ['tee', GUEST_CONFIG], { signal, input: config });
  }

  /** What a guest needs once, however often tests are handed out to it. Whether its kernel looks for leaks. */
  async #equip(): Promise<boolean> {
    const { directory, label: shard } = this.#options;
    const { signal } = this.#context;
    await deployBundle(this.#vm, this.#options.bundle, this.#context);
    const { stdout: micros } = await this.#vm.exec(['bash', guestScript('measure-exec.sh')], { signal });
    if (Number(micros) > 0) recordPhase(directory, { phase: 'exec', shard, seconds: Number(micros) / 1e6 });
    return (await this.#vm.exec(['test', '-e', '/sys/kernel/debug/kmemleak'], { signal })).exitCode === 0;
  }

  /** What kept a guest from being prepared: the loss of its VM is an end like any other, all else is the lab's fault. */
  async #endedBefore(error: unknown): Promise<AttemptResult> {
    this.#context.signal.throwIfAborted();
    const reason = await whyLost(this.#vm);
    if (reason === undefined) throw error;
    return lostBefore(reason);
  }

  /** The verdict of the last test changes if anything leaked since the guest's last scan. */
  async #lookForLeaks(): Promise<void> {
    const { signal, progress } = this.#context;
    progress.update('looking for leaks');
    try {
      const verdict = await lateLeak(this.#vm, this.#options.directory, signal);
      const outcome = verdict && this.#outcomes.get(verdict.name);
      if (outcome === undefined) return;
      this.#events.push(`${verdict?.name}: ${verdict?.reason}.`);
      this.#options.onOutcome({ ...outcome, ...verdict }, 'settled', this.#options.node?.());
    } catch (error) {
      signal.throwIfAborted();
      this.#problems.push(`kmemleak was not asked: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** The verdict stands whether this works or not: a test may have left a file system behind that does not mount. */
  async #mountTestAgain(): Promise<void> {
    const { fileSystem, mounts } = this.#options;
    const { signal, progress } = this.#context;
    try {
      await mountTestAgain(this.#vm, fileSystem, this.#devices, mounts.test, signal);
    } catch (error) {
      signal.throwIfAborted();
      progress.note(`${mounts.test} stays unmounted: ${error instanceof Error ? error.message : error}`);
    }
  }

  #testFinished(attempt: number, test: string, verdict: PrintedVerdict | Casualty, seconds: number): void {
    const status = verdict.status === 'expunged' ? 'notrun' : verdict.status;
    this.#options.onOutcome(
      { name: test, status, seconds: rounded(seconds), reason: verdict.reason },
      'printed',
      this.#options.node?.(),
    );
    // At once, since the guest may not live until the end.
    if (status === 'failed' || status === 'hung') this.#fetchSoon(attempt, test);
  }

  /** What sets the files of an attempt apart from those of the run's others. */
  #label(attempt: number): string {
    return this.#options.label === '' ? `${attempt}` : `${this.#options.label}.${attempt}`;
  }

  #fetchSoon(attempt: number, test: string): void {
    const vm = this.#vm;
    this.#fetching = this.#fetching.then(() =>
      this.#fetch(vm, attempt, test).catch((error: unknown) => {
        // The files come again at the end of the attempt; if that fails as well, the report says so.
        this.#context.progress.output(`files of ${test}: ${String(error)}`);
      }),
    );
  }

  /** Fetch results, in bounded time: a guest that dies in the middle of it may leave the transfer without an end. */
  async #fetch(vm: Vm, attempt: number, test?: string): Promise<void> {
    const limit = (this.#options.timing ?? defaultTiming).fetch;
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort(new LabError(`The guest did not hand its results over within ${limit / 1000} s.`));
    }, limit);
    const signal = AbortSignal.any([this.#context.signal, this.#stopFetching.signal, late.signal]);
    const stopped = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    const context = { signal, progress: this.#context.progress };
    try {
      await Promise.race([
        fetchResults(vm, attempt, this.#options.directory, this.#label(attempt), context, test),
        stopped,
      ]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Have the attempt's files here. A VM that is lost before they are ends it after all, with what was printed. */
  async #fetched(attempt: number, result: AttemptResult): Promise<AttemptResult> {
    const { directory, label: shard } = this.#options;
    if (result.end.kind !== 'complete') {
      // From a lost VM nothing more is to be had than what is on its way.
      this.#stopFetching.abort();
      this.#stopFetching = new AbortController();
      return result;
    }
    await this.#fetching;
    try {
      await timed(directory, { phase: 'fetch', shard }, () => this.#fetch(this.#vm, attempt));
      return result;
    } catch (error) {
      this.#context.signal.throwIfAborted();
      const reason = await whyLost(this.#vm);
      if (reason !== undefined) {
        const remark = `The VM was lost before its results were here (${reason}): what check printed counts.`;
        return { ...result, end: { kind: 'vm-lost', reason }, remarks: [...result.remarks, remark] };
      }
      const why = error instanceof Error ? error.message : error;
      this.#problems.push(`The results could not be fetched: ${why}`);
      return result;
    }
  }

  /** Turn what an attempt printed and left behind into outcomes. */
  async #settle(attempt: number, tests: readonly string[], result: AttemptResult): Promise<void> {
    const { directory } = this.#options;
    const complete = result.end.kind === 'complete';
    const recorded = await readResultXml(join(directory, `result-${this.#label(attempt)}.xml`));
    if (complete && recorded.unreadable !== undefined) this.#problems.push(`${recorded.unreadable}.`);
    for (const casualty of result.casualties) {
      await this.#writeState(casualty);
      this.#settled(casualty.test, casualty, result);
    }
    for (const test of tests) {
      if (this.#outcomes.has(test)) continue;
      const printed = result.printed.get(test);
      // With the VM its files were lost, or the user does not wait for them; what was printed had reached the host.
      const verdict =
        complete || printed === undefined
          ? reconcile(printed, recorded.tests.get(test), await hasBadOutput(directory, test))
          : { ...printed, status: printed.status === 'expunged' ? ('notrun' as const) : printed.status };
      if (verdict !== undefined) this.#settled(test, verdict, result);
    }
  }

  #settled(
    test: string,
    { status, reason }: Pick<TestOutcome, 'status' | 'reason'>,
    result: AttemptResult,
  ): void {
    const outcome = { name: test, status, seconds: rounded(result.seconds.get(test) ?? 0), reason };
    this.#outcomes.set(test, outcome);
    this.#options.onOutcome(outcome, 'settled', this.#options.node?.());
  }

  async #writeState(casualty: Casualty): Promise<void> {
    const file = join(this.#options.directory, casualty.test);
    await mkdir(dirname(file), { recursive: true });
    if (casualty.state !== '') await writeFile(`${file}.state`, casualty.state);
    const console = await readFile(this.#vm.consoleLog, 'utf8').catch(() => '');
    // From the line that check wrote to the kernel's log when it started the test.
    const start = console.lastIndexOf(`run fstests ${casualty.test} `);
    await writeFile(`${file}.console`, console.slice(Math.max(start, console.length - 1_000_000)));
  }

  /** check exits with 1 when a test failed; any other failure of it is one of the lab. */
  #judgeExitCode(tests: readonly string[], result: AttemptResult): void {
    if (result.end.kind !== 'complete') return;
    const { exitCode } = result.end;
    const unhappy = tests.some((test) => {
      const status = this.#outcomes.get(test)?.status;
      return status !== undefined && status !== 'passed' && status !== 'notrun';
    });
    if (exitCode === 0 || (exitCode === 1 && unhappy)) return;
    const words = result.output.trim().split('\n').slice(-3).join(' | ');
    this.#problems.push(`check ended with exit code ${exitCode} though no test failed: ${words}`);
  }
}

/** To milliseconds. */
function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
