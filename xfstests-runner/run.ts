// SPDX-License-Identifier: BSD-3-Clause

import type { LabContext } from '../lab/context.ts';
import { InterruptedError } from '../lab/errors.ts';
import { NodeCounts } from '../lab/test-run/node-counts.ts';
import { TestQueue } from '../lab/test-run/queue.ts';
import { testLine } from '../lab/test-run/report/summary.ts';
import { writeReports } from '../lab/test-run/report/write.ts';
import { type RecordedTimes, seriesOf } from '../lab/test-run/times.ts';
import {
  countOutcomes,
  judge,
  type Provenance,
  type RunReport,
  type TestOutcome,
} from '../lab/test-run/verdict.ts';
import { abortable } from '../lab/vm/abortable.ts';
import type { WatchdogTiming } from './attempt.ts';
import type { Bundle } from './bundle.ts';
import type { FileSystemProfile } from './filesystems.ts';
import { Journal, type Stage, writePlan } from './journal.ts';
import { runShard, type ShardResult, type ShardVm } from './shard.ts';

export interface RunOptions {
  /** At least one; tests are handed out to them. One that is still to come joins in when it is there. */
  readonly vms: readonly (ShardVm | Promise<ShardVm>)[];
  /** The VMs are on one machine, and so as fast as each other. */
  readonly alike?: boolean;
  readonly bundle: Bundle;
  readonly tests: readonly string[];
  /** Tests that have a verdict already: from an earlier part of the run, or since they are expunged. */
  readonly settled?: readonly TestOutcome[];
  /** What went wrong with the lab in an earlier part of the run, and no test that is still to be run will answer. */
  readonly problems?: readonly string[];
  /** What went wrong in an earlier part and was made good, in sentences. */
  readonly events?: readonly string[];
  /** Tests that an expunge names: one that passes all the same is reported. */
  readonly expunged?: ReadonlySet<string>;
  /** These are run all the same: for whoever goes on with the run. */
  readonly runExpunged?: boolean;
  readonly fileSystem: FileSystemProfile;
  readonly mounts: { readonly test: string; readonly scratch: string };
  /** Seconds one test may take. */
  readonly testTimeout: number;
  /** Seconds that tests made to run for a while are to take. */
  readonly soak?: number;
  /** Directory of the run on the host, made by `makeRunDirectory`. */
  readonly directory: string;
  /** Identifier of the run. */
  readonly run: string;
  readonly provenance: Provenance;
  readonly times: RecordedTimes;
  readonly timing?: WatchdogTiming;
}

/**
 * Run the tests, put the reports into the run's directory and return the verdict. Interrupted, it still writes the report of
 * what ran, then rejects with `InterruptedError`.
 */
export async function runTests(options: RunOptions, context: LabContext): Promise<RunReport> {
  return new Run(options, context).run();
}

/** A test's limit is this many times what it took when it last passed, but no less than this many seconds. */
const limitFactor = 10;
const leastLimit = 120;

class Run {
  readonly #options: RunOptions;
  readonly #context: LabContext;
  readonly #started = new Date();
  readonly #journal: Journal;
  readonly #outcomes = new Map<string, TestOutcome>();
  readonly #problems: string[];
  readonly #events: string[];
  /** Tests that have ended, settled or not. */
  readonly #finished = new Set<string>();
  readonly #running = new Set<string>();
  readonly #nodes = new NodeCounts();
  /** Tests without a verdict at the start, and the seconds that each is expected to take. */
  #toDo: readonly string[] = [];
  #expected: (test: string) => number = () => 1;
  /** Under what its times are kept. */
  readonly #series: string;

  constructor(options: RunOptions, context: LabContext) {
    this.#options = options;
    this.#series = seriesOf(options.fileSystem.name, options.provenance.flavour);
    this.#context = context;
    this.#journal = new Journal(options.directory);
    this.#problems = [...(options.problems ?? [])];
    this.#events = [...(options.events ?? [])];
    for (const outcome of options.settled ?? []) {
      this.#outcomes.set(outcome.name, outcome);
      this.#finished.add(outcome.name);
    }
  }

  async run(): Promise<RunReport> {
    const { directory, run, fileSystem, tests, times, runExpunged = false } = this.#options;
    const started = this.#started.toISOString();
    await writePlan(directory, { run, fileSystem: fileSystem.name, tests: [...tests], started, runExpunged });
    const left = tests.filter((test) => !this.#outcomes.has(test));
    this.#toDo = left;
    this.#expected = times.expected(this.#series, left);
    const { vms } = this.#options;
    this.#context.progress.expect((1000 * this.#secondsOf(left)) / vms.length);
    const queue = new TestQueue(left, vms.length, this.#expected, {
      alike: this.#options.alike ?? false,
      refills: this.#refills,
    });
    const results = left.length === 0 ? [] : await Promise.all(vms.map((_, at) => this.#shard(at, queue)));
    const interrupted = this.#context.signal.aborted;
    const incomplete = left.some((test) => !this.#outcomes.has(test));
    const lost = results.flatMap((result) => result.lost ?? []);
    const report = await this.#report(
      [...this.#problems, ...(incomplete ? lost : []), ...(interrupted ? ['Interrupted.'] : [])],
      incomplete ? [] : lost,
    );
    await times.save();
    if (interrupted) throw new InterruptedError();
    return report;
  }

  async #shard(at: number, queue: TestQueue): Promise<ShardResult> {
    const { vms, bundle, fileSystem, mounts, directory, timing, soak } = this.#options;
    const label = vms.length === 1 ? '' : `shard${at + 1}`;
    const worker = queue.worker();
    let vm: ShardVm | undefined;
    try {
      vm = (await abortable(Promise.race([vms[at], queue.done]), this.#context.signal)) ?? undefined;
      if (vm === undefined) return {};
      return await runShard(
        {
          ...vm,
          label,
          bundle,
          queue: worker,
          refills: this.#refills,
          fileSystem,
          mounts,
          soak,
          directory,
          ...(timing === undefined ? {} : { timing }),
          limit: (test) => this.#limit(test),
          onStarted: (test) => {
            this.#running.add(test);
            this.#showProgress();
          },
          onOutcome: (outcome, stage, node) => {
            const first = stage === 'settled' && !this.#outcomes.has(outcome.name);
            if (first && node !== undefined) this.#nodes.add(node, outcome);
            this.#take(outcome, stage);
          },
          onProblem: (problem, affected) => {
            this.#problems.push(problem);
            this.#journal.doubt(problem, affected);
          },
          onDoubt: (problem, affected) => this.#journal.doubt(problem, affected),
          onEvent: (event) => {
            this.#events.push(event);
            this.#journal.event(event);
          },
        },
        this.#context,
      );
    } catch (error) {
      // One shard alone is the run. Others go on, with what this one had.
      if (vms.length === 1) throw error;
      return { lost: `${label}: ${error instanceof Error ? error.message : error}` };
    } finally {
      worker.leave();
      vm?.release?.();
    }
  }

  /** One VM alone has all tests from the start. */
  get #refills(): boolean {
    const { vms, bundle } = this.#options;
    return vms.length > 1 && bundle.refills === true;
  }

  #limit(test: string): number {
    const { testTimeout, times, soak = 0 } = this.#options;
    const recorded = times.of(this.#series, test);
    if (recorded === undefined) return testTimeout + soak;
    return Math.min(testTimeout, Math.max(leastLimit, limitFactor * recorded)) + soak;
  }

  #take(outcome: TestOutcome, stage: Stage): void {
    const { progress } = this.#context;
    const { name, status, seconds } = outcome;
    this.#journal.verdict(outcome, stage);
    if (stage === 'settled') this.#outcomes.set(name, outcome);
    if (this.#finished.has(name)) return;
    this.#finished.add(name);
    this.#running.delete(name);
    progress.note(testLine(outcome));
    this.#showProgress();
    // Of the time, not of the tests: what is left of it is then what the pace so far says.
    const finished = this.#toDo.filter((test) => this.#finished.has(test));
    progress.fraction(this.#secondsOf(finished) / this.#secondsOf(this.#toDo));
    if (status === 'passed' || status === 'notrun')
      this.#options.times.record(this.#series, name, status, seconds);
  }

  #secondsOf(tests: readonly string[]): number {
    return tests.reduce((sum, test) => sum + this.#expected(test), 0);
  }

  #showProgress(): void {
    const now = [...this.#running].join(' and ');
    const count = `${this.#finished.size} of ${this.#options.tests.length} done`;
    this.#context.progress.update(now === '' ? count : `${now} (${count})`);
  }

  /** `lost`: of shards whose tests others ran. */
  async #report(problems: readonly string[], lost: readonly string[]): Promise<RunReport> {
    const { directory, fileSystem, run, tests, vms, provenance, expunged } = this.#options;
    const outcomes = tests.flatMap((test) => this.#outcomes.get(test) ?? []);
    const missing = tests.filter((test) => !this.#outcomes.has(test));
    const report: RunReport = {
      run,
      verdict: judge(outcomes, missing, problems),
      counts: countOutcomes(outcomes),
      tests: outcomes,
      missing,
      problems: [...problems],
      events: [
        ...this.#events,
        ...lost,
        ...outcomes
          .filter(({ name, status }) => status === 'passed' && expunged?.has(name))
          .map(({ name }) => `${name} is expunged, but passed: its expunge is not needed.`),
      ],
      fileSystem: fileSystem.name,
      seconds: Math.round((Date.now() - this.#started.getTime()) / 100) / 10,
      started: this.#started.toISOString(),
      shards: vms.length,
      ...this.#nodes.forReport(),
      provenance,
    };
    await writeReports(directory, report);
    return report;
  }
}
