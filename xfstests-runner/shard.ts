// SPDX-License-Identifier: BSD-3-Clause

import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { LabError } from '../lab/errors.ts';
import { whyLost } from '../lab/test-run/lost-vm.ts';
import type { QueueWorker } from '../lab/test-run/queue.ts';
import { isFailure, type TestOutcome, toMilliseconds } from '../lab/test-run/verdict.ts';
import { abortable } from '../lab/vm/abortable.ts';
import type { Vm } from '../lab/vm/vm.ts';
import {
  type AttemptResult,
  attemptTests,
  type Casualty,
  defaultTiming,
  lostBefore,
  oddExit,
  type VmLost,
  type WatchdogTiming,
} from './attempt.ts';
import type { Bundle } from './bundle.ts';
import { writeCasualty } from './casualty-files.ts';
import type { PrintedVerdict } from './check-output.ts';
import type { FileSystemProfile, RunDevices } from './filesystems.ts';
import {
  deployBundle,
  fetchResults,
  guestResults,
  guestScript,
  mountTestAgain,
  prepareGuest,
} from './guest.ts';
import type { Stage } from './journal.ts';
import { lateLeak } from './leaks.ts';
import { localConfig } from './local-config.ts';
import { recordPhase, timed } from './phases.ts';
import { hasBadOutput, readResultXml, reconcile } from './result-files.ts';

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
  /** It is lost, for this reason, though it may still run: nothing more is to run on it, now or later. */
  distrust?(reason: string): Promise<void>;
  /** The shard is through with it. */
  release?(): void;
}

export interface ShardOptions extends ShardVm {
  /** '' for the only one of a run, else what sets its files apart from those of the others. */
  readonly label: string;
  readonly bundle: Bundle;
  /** Where its tests come from. */
  readonly queue: QueueWorker;
  /** Whether `check` is given more of them while it runs. */
  readonly refills: boolean;
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
  /** First what was printed; again when the files of the attempt have been looked at, and when a doubt was for nothing. */
  onOutcome(outcome: TestOutcome, stage: Stage, node: string | undefined): void;
  /** What went wrong with the lab, in a sentence, and the tests whose verdicts lack evidence by it. */
  onProblem(problem: string, tests: readonly string[]): void;
  /** The same of what is still to be done for these tests: it holds unless they are reported as settled again. */
  onDoubt(problem: string, tests: readonly string[]): void;
  /** What went wrong and was made good, in a sentence. */
  onEvent(event: string): void;
}

/** What became of a shard beside what was reported. */
export interface ShardResult {
  /** Why its last VM was lost, if it could not be replaced: one of the lab's problems, unless others ran the rest. */
  readonly lost?: string;
}

/** Run tests of the queue until it has no more. Interrupted, it resolves with what it has. */
export async function runShard(options: ShardOptions, context: LabContext): Promise<ShardResult> {
  return await new Shard(options, context).run();
}

/** An attempt whose files are on the host, or why they are not. */
interface FetchedAttempt extends AttemptResult {
  readonly unfetched?: string;
}

/** A VM that is lost before it came to any test may have had bad luck; when the next one is too, that is no luck. */
const fruitlessLosses = 2;

class Shard {
  readonly #options: ShardOptions;
  readonly #context: LabContext;
  readonly #outcomes = new Map<string, TestOutcome>();
  #vm: Vm;
  #devices: RunDevices;
  #lost: string | undefined;
  /** Whether its kernel looks for leaks: known once the guest has what it needs. */
  #kmemleak: boolean | undefined;
  /** Tests that it was given. */
  readonly #here = new Set<string>();
  /** Tests whose verdicts lack evidence that will not come any more. */
  readonly #doubted = new Set<string>();
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
    return this.#lost === undefined ? {} : { lost: this.#lost };
  }

  async #attempts(): Promise<void> {
    const { bootSeconds, directory, label: shard } = this.#options;
    if (bootSeconds !== undefined) recordPhase(directory, { phase: 'boot', shard, seconds: bootSeconds });
    // Nothing may be left for a VM in place of a lost one.
    let tested = false;
    for (let attempt = 1; ; attempt += 1) {
      const tests = await this.#options.queue.take(this.#context.signal);
      if (tests.length === 0) {
        if (tested && this.#kmemleak === true) await this.#lookForLeaks();
        return;
      }
      const result = await this.#fetched(attempt, await this.#attempt(attempt, tests));
      await this.#settle(attempt, result);
      const { end } = result;
      for (const remark of result.remarks) this.#options.onEvent(remark);
      if (end.kind === 'interrupted') return;
      tested = end.kind === 'complete';
      if (end.kind === 'complete') {
        await timed(directory, { phase: 'mount', shard }, () => this.#mountTestAgain());
        continue;
      }
      await this.#options.distrust?.(end.reason);
      this.#fruitless = result.seconds.size > 0 || end.spared !== undefined ? 0 : this.#fruitless + 1;
      this.#options.queue.giveBack(result.tests.filter((test) => !this.#outcomes.has(test)));
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
      this.#here.clear();
    } catch (error) {
      signal.throwIfAborted();
      const why = error instanceof Error ? error.message : String(error);
      if (!done.signal.aborted) this.#lost += `, and none took its place: ${why}`;
      return false;
    }
    this.#lost = undefined;
    const again = spared === undefined ? '' : `, and ${spared} once more`;
    const event = `The VM was lost (${reason}); another took the rest${again}.`;
    this.#options.onEvent(event);
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
    // That of an earlier part of the run, whose attempts had the same numbers, is no record of this one.
    await rm(this.#recordOf(attempt), { force: true });
    progress.update('preparing the guest');
    try {
      await timed(directory, { phase: 'prepare', shard }, () => this.#prepare(attempt));
    } catch (error) {
      return await this.#endedBefore(error, tests);
    }
    progress.update(`starting check for ${tests.length} tests`);
    const result = await timed(directory, { phase: 'check', shard }, () =>
      attemptTests({
        vm: this.#vm,
        attempt,
        tests,
        more: this.#options.refills ? () => this.#options.queue.takeMore() : undefined,
        signal,
        limit: (test) => this.#options.limit(test),
        spares: (test) => this.#options.queue.spares(test),
        onStarted: (test) => this.#options.onStarted(test),
        onFinished: (test, verdict, seconds) => this.#testFinished(attempt, test, verdict, seconds),
        ...(this.#options.timing === undefined ? {} : { timing: this.#options.timing }),
      }),
    );
    const { starting, ending, output } = result;
    if (starting !== undefined) recordPhase(directory, { phase: 'start', shard, seconds: starting });
    if (ending !== undefined) recordPhase(directory, { phase: 'end', shard, seconds: ending });
    await writeFile(join(directory, `check-${this.#label(attempt)}.out`), output);
    return result;
  }

  async #prepare(attempt: number): Promise<void> {
    const { fileSystem, mounts } = this.#options;
    const { signal } = this.#context;
    this.#kmemleak ??= await this.#equip();
    const config = localConfig({
      fileSystem,
      devices: this.#devices,
      testDirectory: mounts.test,
      scratchMount: mounts.scratch,
      resultBase: guestResults(attempt),
      kmemleak: this.#kmemleak,
      soak: this.#options.soak,
    });
    const preparation = { attempt, config, profile: fileSystem, devices: this.#devices, mounts };
    await prepareGuest(this.#vm, preparation, signal);
  }

  /** What a guest needs once, however often tests are handed out to it. Whether its kernel looks for leaks. */
  async #equip(): Promise<boolean> {
    const { directory, label: shard } = this.#options;
    const { signal } = this.#context;
    await deployBundle(this.#vm, this.#options.bundle, this.#context);
    const { stdout } = await this.#vm.exec(['bash', guestScript('guest-facts.sh')], { signal });
    const [micros, kmemleak] = stdout.split('\n');
    if (Number(micros) > 0) recordPhase(directory, { phase: 'exec', shard, seconds: Number(micros) / 1e6 });
    return kmemleak === 'kmemleak';
  }

  /** What kept a guest from being prepared: the loss of its VM is an end like any other, all else is the lab's fault. */
  async #endedBefore(error: unknown, tests: readonly string[]): Promise<AttemptResult> {
    this.#context.signal.throwIfAborted();
    const reason = await whyLost(this.#vm);
    if (reason === undefined) throw error;
    return lostBefore(reason, tests);
  }

  /** The verdict of the last test changes if anything leaked since the guest's last scan. */
  async #lookForLeaks(): Promise<void> {
    const { signal, progress } = this.#context;
    progress.update('looking for leaks');
    try {
      const verdict = await lateLeak(this.#vm, this.#options.directory, signal);
      if (verdict !== undefined) {
        this.#options.onEvent(`${verdict.name}: ${verdict.reason}.`);
        const outcome = this.#outcomes.get(verdict.name);
        // Which of those before it leaked is not known.
        if (outcome === undefined) return;
        this.#outcomes.set(outcome.name, { ...outcome, ...verdict });
      }
      for (const test of this.#here) if (!this.#doubted.has(test)) this.#report(test);
    } catch (error) {
      signal.throwIfAborted();
      const why = error instanceof Error ? error.message : error;
      this.#options.onProblem(`kmemleak was not asked: ${why}`, [...this.#here]);
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
      { name: test, status, seconds: toMilliseconds(seconds), reason: verdict.reason },
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
    const context = { signal, progress: this.#context.progress };
    const { directory } = this.#options;
    try {
      await abortable(fetchResults(vm, attempt, directory, this.#label(attempt), context, test), signal);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Have the attempt's files here. A VM that is lost before they are ends it after all, with what was printed. */
  async #fetched(attempt: number, result: AttemptResult): Promise<FetchedAttempt> {
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
      return { ...result, unfetched: `The results could not be fetched: ${why}` };
    }
  }

  /** Turn what an attempt printed and left behind into outcomes. */
  async #settle(attempt: number, result: FetchedAttempt): Promise<void> {
    const { directory } = this.#options;
    const complete = result.end.kind === 'complete';
    const recorded = await readResultXml(this.#recordOf(attempt));
    for (const test of result.tests) this.#here.add(test);
    const verdicts = new Map<string, Pick<TestOutcome, 'status' | 'reason'>>();
    for (const casualty of result.casualties) {
      await writeCasualty(directory, casualty, this.#vm.consoleLog);
      verdicts.set(casualty.test, casualty);
    }
    for (const test of result.tests) {
      if (verdicts.has(test) || this.#outcomes.has(test)) continue;
      const printed = result.printed.get(test);
      // With the VM its files were lost, or the user does not wait for them; what was printed had reached the host.
      const verdict =
        complete || printed === undefined
          ? reconcile(printed, recorded.tests.get(test), await hasBadOutput(directory, test))
          : { ...printed, status: printed.status === 'expunged' ? ('notrun' as const) : printed.status };
      if (verdict !== undefined) verdicts.set(test, verdict);
    }
    // Nothing is waited for from here on: who ends the run does not come between verdicts and what puts them in doubt.
    for (const [name, { status, reason }] of verdicts) {
      const seconds = toMilliseconds(result.seconds.get(name) ?? 0);
      this.#outcomes.set(name, { name, status, seconds, reason });
      this.#report(name);
    }
    if (!complete) return;
    const unrecorded = result.tests.filter((test) => !this.#outcomes.has(test));
    if (unrecorded.length > 0) this.#options.onDoubt('check recorded no verdict of some tests.', unrecorded);
    const happy = [...verdicts].filter(([, { status }]) => !isFailure(status)).map(([name]) => name);
    if (this.#kmemleak === true && happy.length > 0) this.#options.onDoubt('kmemleak was not asked', happy);
    const unreadable = recorded.unreadable === undefined ? undefined : `${recorded.unreadable}.`;
    const odd = oddExit(result, (test) => this.#outcomes.get(test)?.status);
    for (const problem of [result.unfetched, unreadable, odd]) {
      if (problem === undefined) continue;
      this.#options.onProblem(problem, result.tests);
      for (const test of result.tests) this.#doubted.add(test);
    }
  }

  #report(test: string): void {
    const outcome = this.#outcomes.get(test);
    if (outcome !== undefined) this.#options.onOutcome(outcome, 'settled', this.#options.node?.());
  }

  /** What `check` recorded in an attempt, once that is here. */
  #recordOf(attempt: number): string {
    return join(this.#options.directory, `result-${this.#label(attempt)}.xml`);
  }
}
