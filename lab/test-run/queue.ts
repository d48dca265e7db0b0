// SPDX-License-Identifier: BSD-3-Clause

import { abortable } from '../vm/abortable.ts';

/** What one worker (a shard with its VM) may ask of the queue of a run. */
export interface QueueWorker {
  /**
   * The next tests to run, in the order that was asked for; none, once nothing is left that anybody could give back. What the
   * worker was given before is settled by this: what of it has no verdict will not get one. Rejects when `signal` aborts.
   */
  take(signal: AbortSignal): Promise<readonly string[]>;
  /** More tests for a worker that has not come to the end of its own: what is to be had at once, if anything. */
  takeMore(): readonly string[];
  /** Tests without a verdict, from a VM that was lost: for whoever asks next. */
  giveBack(tests: readonly string[]): void;
  /**
   * For one that can take nothing at the moment. Whether there is anything to take: true as soon as there is, false once nothing is
   * left that anybody could give back. Rejects when `signal` aborts.
   */
  isWanted(signal: AbortSignal): Promise<boolean>;
  /** Resolves once nothing is left that anybody could take or give back. */
  readonly done: Promise<void>;
  /**
   * Whether a test whose VM was killed from outside gets another chance: once in a run, wherever it happened. The second time it
   * is the test that kills it.
   */
  spares(test: string): boolean;
  /** The worker is no more: what it has not settled is for the others. */
  leave(): void;
}

/**
 * One hand-out is at most so many seconds of tests, where there are several workers of unknown speed: one that is much slower than
 * expected then holds little.
 */
const longestShare = 600;
/**
 * And no less than this, as long as every worker can have as much: to start `check` and fetch what it left takes ten seconds in an
 * emulated guest, and twice that where guests share CPUs.
 */
const shortestShare = 60;
/** What little is left at the end of a run that is longer is not worth dividing further than into this much. */
const leastShare = 30;

/** Of workers that are given more before they come to an end, which takes next to nothing: a slow one holds nothing back. */
const refillShare = 10;

/**
 * The tests that a run has to do, handed out to its workers as they ask: the longest first, a smaller share of what is left each
 * time. One worker alone gets everything at once. `seconds` is what a test is expected to take.
 */
export class TestQueue {
  readonly #order: readonly string[];
  readonly #seconds: (test: string) => number;
  /** The longest first. */
  #waiting: string[];
  #workers: number;
  readonly #held = new Map<QueueWorker, ReadonlySet<string>>();
  readonly #spared = new Set<string>();
  #changed = Promise.withResolvers<void>();
  readonly #done = Promise.withResolvers<void>();
  /** Seconds that a hand-out is not less than. */
  readonly #least: number;
  /** Seconds that a hand-out is not more than. */
  readonly #most: number;
  readonly #oneByOne: boolean;

  /**
   * `workers`: how many there are to be; each has to `leave` in the end. `alike`: all are known to be equally fast. `oneByOne`: to
   * hand out costs nothing, so that nobody is given more than one. `refills`: they `takeMore`.
   */
  constructor(
    tests: readonly string[],
    workers: number,
    seconds: (test: string) => number,
    {
      alike = false,
      oneByOne = false,
      refills = false,
    }: { readonly alike?: boolean; readonly oneByOne?: boolean; readonly refills?: boolean } = {},
  ) {
    this.#oneByOne = oneByOne;
    this.#most = refills ? refillShare : alike ? Number.POSITIVE_INFINITY : longestShare;
    this.#order = tests;
    this.#workers = workers;
    this.#seconds = seconds;
    this.#waiting = this.#longestFirst(tests);
    this.#least = Math.min(leastShare, this.#equalShare(tests) / 2);
  }

  /** Resolves once nothing is left that anybody could take or give back: whoever has not come by then need not. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  worker(): QueueWorker {
    const worker: QueueWorker = {
      take: (signal) => this.#take(worker, signal),
      takeMore: () => (this.#waiting.length === 0 ? [] : this.#share(worker)),
      giveBack: (tests) => this.#giveBack(worker, tests),
      isWanted: (signal) => this.#isWanted(signal),
      done: this.done,
      spares: (test) => {
        const first = !this.#spared.has(test);
        this.#spared.add(test);
        return first;
      },
      leave: () => {
        this.#workers -= 1;
        this.#giveBack(worker, [...(this.#held.get(worker) ?? [])]);
      },
    };
    return worker;
  }

  async #take(worker: QueueWorker, signal: AbortSignal): Promise<readonly string[]> {
    this.#hold(worker, []);
    while (await this.#isWanted(signal)) {
      const share = this.#share(worker);
      // Another was faster.
      if (share.length > 0) return share;
    }
    return [];
  }

  async #isWanted(signal: AbortSignal): Promise<boolean> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#waiting.length > 0) return true;
      // Others may still give back what they have.
      if (this.#held.size === 0) return false;
      await abortable(this.#changed.promise, signal);
    }
  }

  #share(worker: QueueWorker): readonly string[] {
    const most = this.#workers <= 1 ? Number.POSITIVE_INFINITY : this.#nextShare();
    const taken = new Set<string>();
    let sum = 0;
    for (const test of this.#waiting) {
      if (taken.size > 0 && (this.#oneByOne || sum + this.#seconds(test) > most)) break;
      taken.add(test);
      sum += this.#seconds(test);
    }
    this.#waiting = this.#waiting.filter((test) => !taken.has(test));
    this.#hold(worker, [...(this.#held.get(worker) ?? []), ...taken]);
    return this.#order.filter((test) => taken.has(test));
  }

  /** Half of what would be each worker's, so that there is enough left to make up for what took longer than expected. */
  #nextShare(): number {
    const each = this.#equalShare(this.#waiting);
    return Math.min(this.#most, Math.max(each / 2, Math.min(shortestShare, each), this.#least));
  }

  #equalShare(tests: readonly string[]): number {
    return tests.reduce((sum, test) => sum + this.#seconds(test), 0) / this.#workers;
  }

  #giveBack(worker: QueueWorker, tests: readonly string[]): void {
    this.#waiting = this.#longestFirst([...this.#waiting, ...tests]);
    this.#hold(worker, []);
  }

  #hold(worker: QueueWorker, tests: Iterable<string>): void {
    const held = new Set(tests);
    if (held.size === 0) this.#held.delete(worker);
    else this.#held.set(worker, held);
    if (this.#waiting.length === 0 && this.#held.size === 0) this.#done.resolve();
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  #longestFirst(tests: readonly string[]): string[] {
    return [...tests].sort((a, b) => this.#seconds(b) - this.#seconds(a));
  }
}
