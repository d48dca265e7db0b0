// SPDX-License-Identifier: BSD-3-Clause

import { type Alarm, ConsoleAlarms } from '../lab/test-run/console-alarms.ts';
import { describeHealth, killedFromOutside } from '../lab/test-run/lost-vm.ts';
import { isFailure, type TestOutcome } from '../lab/test-run/verdict.ts';
import type { Vm, VmHealth } from '../lab/vm/vm.ts';
import { CheckOutput, type PrintedVerdict } from './check-output.ts';
import { GUEST_CONFIG, guestMore, guestResults, guestScript } from './guest.ts';

/**
 * A test that the watchdog had to end, in which the guest or the server died, or after which no other can run. Such a verdict
 * stands, whatever is printed before or after.
 */
export interface Casualty {
  readonly test: string;
  readonly status: 'hung' | 'crashed' | 'failed';
  readonly reason: string;
  /** State of the guest as text, where it could still be asked. */
  readonly state: string;
}

/** How one call of `check` ended. */
export type AttemptEnd =
  | { readonly kind: 'complete'; readonly exitCode: number }
  /** By the user; what was printed before counts. */
  | { readonly kind: 'interrupted' }
  | VmLost;

/**
 * The guest is gone, or its `check` does not move on: this VM is of no more use. `spared`: the test that it was in, when it was
 * ended from outside and the test gets another chance.
 */
export interface VmLost {
  readonly kind: 'vm-lost';
  readonly reason: string;
  readonly spared?: string;
}

export interface AttemptResult {
  readonly end: AttemptEnd;
  /** All that `check` was given. */
  readonly tests: readonly string[];
  readonly printed: ReadonlyMap<string, PrintedVerdict>;
  /** Seconds each started test took, or had taken when it was ended. */
  readonly seconds: ReadonlyMap<string, number>;
  readonly casualties: readonly Casualty[];
  /** What the console told that is no verdict, in sentences. */
  readonly remarks: readonly string[];
  /** All that `check` printed. */
  readonly output: string;
  /** Seconds from the call to the first test, and from the last verdict to the end of `check`; left out where there was none. */
  readonly starting?: number;
  readonly ending?: number;
}

export interface AttemptOptions {
  readonly vm: Vm;
  /** Number of this call of `check` within the run, from 1. */
  readonly attempt: number;
  readonly tests: readonly string[];
  /** Asked when the last of the tests starts: others, which are run in the same call; none ends it. */
  readonly more?: (() => readonly string[]) | undefined;
  readonly signal: AbortSignal;
  /** Seconds `test` may take. */
  limit(test: string): number;
  /** Whether a VM that was killed from outside while `test` ran is no fault of the test. */
  spares(test: string): boolean;
  onStarted(test: string): void;
  onFinished(test: string, verdict: PrintedVerdict | Casualty, seconds: number): void;
  readonly timing?: WatchdogTiming;
}

/** How patient the watchdog is; tests of it are less so. */
export interface WatchdogTiming {
  /** Milliseconds between two looks. */
  readonly tick: number;
  /** Milliseconds between two questions after the VM's health. */
  readonly health: number;
  /** Milliseconds that collecting state, and ending a test, may take each. */
  readonly collect: number;
  /** Milliseconds without a running test, and after a test was ended, until `check` is given up. */
  readonly idle: number;
  /** Milliseconds that copying results to the host may take: megabytes, through an emulated CPU's cipher. */
  readonly fetch: number;
}

export const defaultTiming: WatchdogTiming = {
  tick: 500,
  health: 20_000,
  collect: 60_000,
  idle: 300_000,
  fetch: 120_000,
};

/** Call `check` once for `tests` and watch over it: every test's limit, the guest's health, and that it moves on at all. */
export async function attemptTests(options: AttemptOptions): Promise<AttemptResult> {
  return new Attempt(options).run();
}

class Attempt {
  readonly #options: AttemptOptions;
  readonly #timing: WatchdogTiming;
  readonly #printed = new Map<string, PrintedVerdict>();
  readonly #seconds = new Map<string, number>();
  readonly #casualties: Casualty[] = [];
  readonly #remarks: string[] = [];
  readonly #parser: CheckOutput;
  readonly #tests: string[];
  readonly #toStart: Set<string>;
  #over: boolean;
  #output = '';
  /** The test that ended last: what the console says before the next one is its doing. */
  #last: string | undefined;
  #current: { readonly test: string; readonly since: number; ended: boolean } | undefined;
  /** When something last moved: a test started or finished. */
  #moved = performance.now();
  readonly #called = performance.now();
  #firstStart: number | undefined;
  #lastFinish: number | undefined;

  constructor(options: AttemptOptions) {
    this.#options = options;
    this.#timing = options.timing ?? defaultTiming;
    this.#tests = [...options.tests];
    this.#toStart = new Set(options.tests);
    this.#over = options.more === undefined;
    this.#parser = new CheckOutput(options.tests, {
      started: (test) => this.#started(test),
      finished: (test, verdict) => this.#finished(test, verdict),
    });
  }

  async run(): Promise<AttemptResult> {
    const { vm, attempt, tests, signal, more } = this.#options;
    const alarms = await ConsoleAlarms.from(vm.consoleLog);
    const abandon = new AbortController();
    const mailbox = more === undefined ? '' : guestMore(attempt);
    const command = [
      ...['bash', guestScript('start-check.sh'), GUEST_CONFIG, guestResults(attempt), mailbox],
      ...tests,
    ];
    const check = vm
      .exec(command, {
        signal: AbortSignal.any([signal, abandon.signal]),
        onStdout: (chunk) => this.#read(chunk),
        onStderr: (chunk) => {
          this.#output += chunk;
        },
      })
      .then(
        (result): AttemptEnd => ({ kind: 'complete', exitCode: result.exitCode }),
        async (error: unknown): Promise<AttemptEnd> => {
          // Abandoned it has ended by us, and nobody waits for what this gives.
          if (signal.aborted || abandon.signal.aborted) return { kind: 'interrupted' };
          return await this.#lost(error);
        },
      );
    const stopWatching = new AbortController();
    try {
      const end = await Promise.race([check, this.#watch(alarms, stopWatching.signal)]);
      this.#parser.end();
      if (end.kind === 'vm-lost') this.#lose(end);
      if (end.kind === 'interrupted') await this.#endCheck();
      return {
        end,
        tests: this.#tests,
        ...this.#around(end),
        printed: this.#printed,
        seconds: this.#seconds,
        casualties: this.#casualties,
        remarks: this.#remarks,
        output: this.#output,
      };
    } finally {
      stopWatching.abort();
      abandon.abort();
      // Either it has ended, or it is abandoned and only its rejection is still to come.
      check.catch(() => undefined);
    }
  }

  #read(chunk: string): void {
    this.#output += chunk;
    this.#parser.push(chunk);
  }

  #started(test: string): void {
    this.#noteTime();
    this.#current = { test, since: performance.now(), ended: false };
    this.#moved = performance.now();
    this.#firstStart ??= this.#moved;
    this.#options.onStarted(test);
    this.#toStart.delete(test);
    if (this.#toStart.size === 0) this.#giveMore();
  }

  /** While the last of its tests runs, so that `check` does not wait for it. */
  #giveMore(): void {
    const { vm, attempt, more, signal } = this.#options;
    if (this.#over || more === undefined) return;
    const tests = more();
    this.#over = tests.length === 0;
    this.#tests.push(...tests);
    for (const test of tests) this.#toStart.add(test);
    this.#parser.expect(tests);
    const lines = this.#over ? [noMore] : tests;
    // Of a VM that is lost in between is told elsewhere; what it was given has no verdict then.
    vm.exec(['tee', '-a', guestMore(attempt)], { signal, input: `${lines.join('\n')}\n` }).catch(
      () => undefined,
    );
  }

  /** What lies before the first test and after the last. */
  #around({ kind }: AttemptEnd): Pick<AttemptResult, 'starting' | 'ending'> {
    const [first, last] = [this.#firstStart, kind === 'complete' ? this.#lastFinish : undefined];
    return {
      ...(first === undefined ? {} : { starting: (first - this.#called) / 1000 }),
      ...(last === undefined ? {} : { ending: (performance.now() - last) / 1000 }),
    };
  }

  #finished(test: string, verdict: PrintedVerdict): void {
    this.#noteTime();
    this.#last = test;
    const ended = this.#casualties.some((casualty) => casualty.test === test);
    this.#current = undefined;
    this.#moved = performance.now();
    this.#lastFinish = this.#moved;
    if (ended) return;
    this.#printed.set(test, verdict);
    this.#options.onFinished(test, verdict, this.#seconds.get(test) ?? 0);
  }

  #noteTime(): void {
    if (this.#current === undefined || this.#seconds.has(this.#current.test)) return;
    this.#seconds.set(this.#current.test, (performance.now() - this.#current.since) / 1000);
  }

  /** Resolves only when this VM has to be given up, or the user interrupted a question to it. */
  async #watch(alarms: ConsoleAlarms, stop: AbortSignal): Promise<AttemptEnd> {
    let lastHealth = performance.now();
    for (;;) {
      await pause(this.#timing.tick, stop);
      for (const alarm of await alarms.look()) {
        const lost = await this.#alarmed(alarm);
        if (this.#options.signal.aborted) return { kind: 'interrupted' };
        if (lost) return { kind: 'vm-lost', reason: alarm.line };
      }
      const now = performance.now();
      if (now - lastHealth > this.#timing.health) {
        lastHealth = now;
        const health = await this.#options.vm.health();
        if (endedStates.has(health.state)) return this.#lostIn(health);
      }
      const current = this.#current;
      if (current !== undefined && !current.ended) {
        const limit = this.#options.limit(current.test);
        if (now - current.since > limit * 1000) {
          const stuck = await this.#endHungTest(current, limit);
          if (this.#options.signal.aborted) return { kind: 'interrupted' };
          if (stuck !== undefined) return { kind: 'vm-lost', reason: stuck };
        }
      } else if (now - this.#moved > this.#timing.idle) {
        return { kind: 'vm-lost', reason: `check did not go on for ${this.#timing.idle / 1000} s` };
      }
    }
  }

  /** Whether the VM is to be given up for it. */
  async #alarmed({ kind, line }: Alarm): Promise<boolean> {
    const test = this.#current?.test ?? this.#last;
    if (kind === 'stall') {
      this.#remarks.push(`During ${test ?? 'the start of check'} the guest's kernel said: ${line}`);
      return false;
    }
    // A panic follows where the kernel cannot go on; then nobody answers.
    const state = (await this.#ask(['bash', guestScript('collect-state.sh')])) ?? '';
    if (test !== undefined) this.#casualty(test, kind, line, state);
    return true;
  }

  /** Returns why the VM is to be given up, if it is. */
  async #endHungTest(
    current: { readonly test: string; ended: boolean },
    limit: number,
  ): Promise<string | undefined> {
    current.ended = true;
    const state = await this.#ask(['bash', guestScript('collect-state.sh')]);
    if (this.#options.signal.aborted) return undefined;
    // While state was collected the test may have ended by itself; it still took longer than it may.
    this.#casualty(current.test, 'hung', `did not end within ${limit} s`, state ?? '');
    const ended = await this.#ask(['bash', guestScript('end-test.sh'), guestResults(this.#options.attempt)]);
    this.#moved = performance.now();
    if (ended === undefined) return 'the guest does not answer';
    if (ended.startsWith('stuck')) return `${current.test} cannot be killed:\n${ended}`;
    return undefined;
  }

  /** Output of a short program in the guest; undefined when the guest gives no answer in time. */
  async #ask(command: readonly string[]): Promise<string | undefined> {
    const signal = AbortSignal.any([this.#options.signal, AbortSignal.timeout(this.#timing.collect)]);
    try {
      const result = await this.#options.vm.exec(command, { signal });
      return result.stdout;
    } catch {
      return undefined;
    }
  }

  #casualty(test: string, status: Casualty['status'], reason: string, state: string): void {
    if (this.#casualties.some((casualty) => casualty.test === test)) return;
    const casualty = { test, status, reason, state };
    this.#noteTime();
    this.#casualties.push(casualty);
    this.#options.onFinished(test, casualty, this.#seconds.get(test) ?? 0);
  }

  #lose({ reason, spared }: VmLost): void {
    if (this.#current === undefined || spared !== undefined) return;
    this.#casualty(this.#current.test, 'crashed', reason, '');
  }

  async #lost(error: unknown): Promise<AttemptEnd> {
    const health = await this.#options.vm.health().catch(() => undefined);
    if (health !== undefined && health.state !== 'running') return this.#lostIn(health);
    return { kind: 'vm-lost', reason: error instanceof Error ? error.message : String(error) };
  }

  #lostIn(health: VmHealth): AttemptEnd {
    const reason = describeHealth(health);
    const test = this.#current?.test;
    const spared = test !== undefined && killedFromOutside(health) && this.#options.spares(test);
    return { kind: 'vm-lost', reason, ...(spared ? { spared: test } : {}) };
  }

  /** After an interruption: leave nothing running in a guest that lives on. */
  async #endCheck(): Promise<void> {
    const command = ['bash', guestScript('end-test.sh'), guestResults(this.#options.attempt), 'all'];
    await this.#options.vm.exec(command, { signal: AbortSignal.timeout(20_000) }).catch(() => undefined);
  }
}

/** Line that tells `check` to come to its end (shell/more.sh). */
const noMore = '.';

/** A VM that is in one of these will not come back. */
const endedStates: ReadonlySet<VmHealth['state']> = new Set(['panicked', 'qemu-ended', 'node-lost']);

/** Of a VM that was lost before `check` could be called. */
export function lostBefore(reason: string, tests: readonly string[]): AttemptResult {
  const nothing = { tests, printed: new Map(), seconds: new Map(), casualties: [], remarks: [], output: '' };
  return { end: { kind: 'vm-lost', reason }, ...nothing };
}

/** `check` exits with 1 when a test failed; any other failure of it is one of the lab, and this a sentence on it. */
export function oddExit(
  { end, output, tests }: AttemptResult,
  statusOf: (test: string) => TestOutcome['status'] | undefined,
): string | undefined {
  if (end.kind !== 'complete') return undefined;
  const unhappy = tests.some((test) => {
    const status = statusOf(test);
    return status !== undefined && isFailure(status);
  });
  if (end.exitCode === 0 || (end.exitCode === 1 && unhappy)) return undefined;
  const words = output.trim().split('\n').slice(-3).join(' | ');
  return `check ended with exit code ${end.exitCode} though no test failed: ${words}`;
}

/** Resolves after `ms`; never, once `stop` has aborted. */
function pause(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    // Its event has been and gone: a watchdog that was busy at that moment would watch for ever.
    if (stop.aborted) return;
    const timer = setTimeout(resolve, ms);
    stop.addEventListener('abort', () => clearTimeout(timer), { once: true });
  });
}
