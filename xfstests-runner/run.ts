// SPDX-License-Identifier: BSD-3-Clause

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { InterruptedError } from '../lab/errors.ts';
import { abortable } from '../lab/vm/abortable.ts';
import type { WatchdogTiming } from './attempt.ts';
import type { Bundle } from './bundle.ts';
import type { FileSystemProfile } from './filesystems.ts';
import { Journal, writePlan } from './journal.ts';
import { TestQueue } from './queue.ts';
import { testLine } from './report/summary.ts';
import { writeReports } from './report/write.ts';
import { runShard, type ShardResult, type ShardVm } from './shard.ts';
import { type RecordedTimes, seriesOf } from './times.ts';
import { countOutcomes, judge, type Provenance, type RunReport, type TestOutcome } from './verdict.ts';

export interface RunOptions {
  /** At least one; tests are handed out to them. One that is still to come joins in when it is there. */
  readonly vms: readonly (ShardVm | Promise<ShardVm>)[];
  /** The VMs are on one machine, and so as fast as each other. */
  readonly alike?: boolean;
  readonly bundle: Bundle;
  readonly tests: readonly string[];
  /** Tests that have a verdict already: from an earlier part of the run, or since they are expunged. */
  readonly settled?: readonly TestOutcome[];
  /** Tests that an expunge names: one that passes all the same is reported. */
  readonly expunged?: ReadonlySet<string>;
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

/** A new directory for a run below `root`, named by time and file system. */
export async function makeRunDirectory(
  root: string,
  fileSystem: string,
  now: Date,
): Promise<{ readonly run: string; readonly directory: string }> {
  await mkdir(root, { recursive: true });
  const base = `${now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15)}-${fileSystem}`;
  for (let count = 1; ; count += 1) {
    const run = count === 1 ? base : `${base}-${count}`;
    const directory = join(root, run);
    try {
      await mkdir(directory);
      return { run, directory };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
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
  /** Tests that have ended, settled or not. */
  readonly #finished = new Set<string>();
  readonly #running = new Set<string>();
  readonly #nodes = new Map<string, { readonly tests: number; readonly seconds: number }>();
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
    for (const outcome of options.settled ?? []) {
      this.#outcomes.set(outcome.name, outcome);
      this.#finished.add(outcome.name);
    }
  }

  async run(): Promise<RunReport> {
    const { directory, run, fileSystem, tests, times } = this.#options;
    const started = this.#started.toISOString();
    await writePlan(directory, { run, fileSystem: fileSystem.name, tests: [...tests], started });
    const left = tests.filter((test) => !this.#outcomes.has(test));
    this.#toDo = left;
    this.#expected = times.expected(this.#series, left);
    const { vms } = this.#options;
    this.#context.progress.expect((1000 * this.#secondsOf(left)) / vms.length);
    const queue = new TestQueue(left, vms.length, this.#expected, { alike: this.#options.alike ?? false });
    const results = left.length === 0 ? [] : await Promise.all(vms.map((_, at) => this.#shard(at, queue)));
    const interrupted = this.#context.signal.aborted;
    const incomplete = left.some((test) => !this.#outcomes.has(test));
    const lost = results.flatMap((result) => result.lost ?? []);
    const report = await this.#report(
      [
        ...results.flatMap(({ problems }) => problems),
        ...(incomplete ? lost : []),
        ...(interrupted ? ['Interrupted.'] : []),
      ],
      [...results.flatMap(({ events }) => events), ...(incomplete ? [] : lost)],
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
      if (vm === undefined) return { problems: [], events: [] };
      return await runShard(
        {
          ...vm,
          label,
          bundle,
          queue: worker,
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
            if (first && node !== undefined) this.#tellNode(node, outcome);
            this.#take(outcome, stage);
          },
        },
        this.#context,
      );
    } catch (error) {
      // One shard alone is the run. Others go on, with what this one had.
      if (vms.length === 1) throw error;
      return {
        problems: [],
        events: [],
        lost: `${label}: ${error instanceof Error ? error.message : error}`,
      };
    } finally {
      worker.leave();
      vm?.release?.();
    }
  }

  #limit(test: string): number {
    const { testTimeout, times, soak = 0 } = this.#options;
    const recorded = times.of(this.#series, test);
    if (recorded === undefined) return testTimeout + soak;
    return Math.min(testTimeout, Math.max(leastLimit, limitFactor * recorded)) + soak;
  }

  #take(outcome: TestOutcome, stage: 'printed' | 'settled'): void {
    const { progress } = this.#context;
    const { name, status, seconds } = outcome;
    this.#journal.write(outcome);
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

  #tellNode(node: string, { seconds }: TestOutcome): void {
    const before = this.#nodes.get(node) ?? { tests: 0, seconds: 0 };
    this.#nodes.set(node, { tests: before.tests + 1, seconds: before.seconds + seconds });
  }

  #secondsOf(tests: readonly string[]): number {
    return tests.reduce((sum, test) => sum + this.#expected(test), 0);
  }

  #showProgress(): void {
    const now = [...this.#running].join(' and ');
    const count = `${this.#finished.size} of ${this.#options.tests.length} done`;
    this.#context.progress.update(now === '' ? count : `${now} (${count})`);
  }

  async #report(problems: readonly string[], events: readonly string[]): Promise<RunReport> {
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
        ...events,
        ...outcomes
          .filter(({ name, status }) => status === 'passed' && expunged?.has(name))
          .map(({ name }) => `${name} is expunged, but passed: its expunge is not needed.`),
      ],
      fileSystem: fileSystem.name,
      seconds: Math.round((Date.now() - this.#started.getTime()) / 100) / 10,
      started: this.#started.toISOString(),
      shards: vms.length,
      ...(this.#nodes.size === 0
        ? {}
        : { nodes: [...this.#nodes].map(([node, count]) => ({ node, ...count })) }),
      provenance,
    };
    await writeReports(directory, report);
    return report;
  }
}
