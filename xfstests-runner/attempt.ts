// SPDX-License-Identifier: BSD-3-Clause

import type { Vm, VmHealth } from '../lab/vm/vm.ts';
import { CheckOutput, type PrintedVerdict } from './check-output.ts';
import { type Alarm, ConsoleAlarms } from './console-alarms.ts';
import { GUEST_CONFIG, guestResults, guestScript } from './guest.ts';

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
  readonly printed: ReadonlyMap<string, PrintedVerdict>;
  /** Seconds each started test took, or had taken when it was ended. */
  readonly seconds: ReadonlyMap<string, number>;
  readonly casualties: readonly Casualty[];
  /** What the console told that is no verdict, in sentences. */
  readonly remarks: readonly string[];
  /** All that `check` printed. */
  readonly output: string;
}

export interface AttemptOptions {
  readonly vm: Vm;
  /** Number of this call of `check` within the run, from 1. */
  readonly attempt: number;
  readonly tests: readonly string[];
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
  #output = '';
  /** The test that ended last: what the console says before the next one is its doing. */
  #last: string | undefined;
  #current: { readonly test: string; readonly since: number; ended: boolean } | undefined;
  /** When something last moved: a test started or finished. */
  #moved = performance.now();

  constructor(options: AttemptOptions) {
    this.#options = options;
    this.#timing = options.timing ?? defaultTiming;
    this.#parser = new CheckOutput(options.tests, {
      started: (test) => this.#started(test),
      finished: (test, verdict) => this.#finished(test, verdict),
    });
  }

  async run(): Promise<AttemptResult> {
    const { vm, attempt, tests, signal } = this.#options;
    const alarms = await ConsoleAlarms.from(vm.consoleLog);
    const abandon = new AbortController();
    const command = ['bash', guestScript('start-check.sh'), GUEST_CONFIG, guestResults(attempt), ...tests];
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
          if (signal.aborted) return { kind: 'interrupted' };
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
    this.#options.onStarted(test);
  }

  #finished(test: string, verdict: PrintedVerdict): void {
    this.#noteTime();
    this.#last = test;
    const ended = this.#casualties.some((casualty) => casualty.test === test);
    this.#current = undefined;
    this.#moved = performance.now();
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

/** Exit codes of a container whose program SIGKILL or SIGTERM ended. */
const killedCodes: readonly number[] = [137, 143];

/** A VM that is in one of these will not come back. */
const endedStates: ReadonlySet<VmHealth['state']> = new Set(['panicked', 'qemu-ended', 'node-lost']);

/** A guest that ends QEMU itself does so with an exit code; one that nobody knows may have been either. */
function killedFromOutside(health: VmHealth): boolean {
  if (health.state === 'node-lost') return true;
  return health.state === 'qemu-ended' && (health.code === null || killedCodes.includes(health.code));
}

/** Of a VM that was lost before `check` could be called. */
export function lostBefore(reason: string): AttemptResult {
  const nothing = { printed: new Map(), seconds: new Map(), casualties: [], remarks: [], output: '' };
  return { end: { kind: 'vm-lost', reason }, ...nothing };
}

/** What became of a VM that something failed on; undefined when it is none of the VM's doing. */
export async function whyLost(vm: Vm): Promise<string | undefined> {
  const health = await vm.health().catch(() => undefined);
  return health === undefined || health.state === 'running' ? undefined : describeHealth(health);
}

/** One sentence on what happened to the guest, with the line of its console that says so. */
export function describeHealth(health: VmHealth): string {
  switch (health.state) {
    case 'running':
      return 'the guest runs';
    case 'panicked':
      return `the guest panicked: ${telling(health.consoleTail)}`;
    case 'qemu-ended':
      return `QEMU ended (exit code ${health.code ?? 'unknown'}): ${telling(health.consoleTail)}`;
    case 'node-lost':
      return `${health.node} is gone, or the task on it`;
    case 'unreachable':
      return `the guest does not answer: ${telling(health.consoleTail)}`;
  }
}

function telling(consoleTail: string): string {
  const lines = consoleTail.split('\n').filter((line) => line.trim() !== '');
  const alarm = lines.find((line) =>
    /Kernel panic|\bBUG:|Oops|general protection fault|kernel BUG at/.test(line),
  );
  return (alarm ?? lines.at(-1) ?? 'its console is empty').replace(/^\[\s*[\d.]+\]\s*/, '').trim();
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
