// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { InterruptedError, LabError } from '../lab/errors.ts';
import type { Vm } from '../lab/vm/vm.ts';
import {
  type AttemptResult,
  attemptTests,
  type Casualty,
  defaultTiming,
  type WatchdogTiming,
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
  mountTestAgain,
  prepareFileSystems,
  writeGuestFile,
} from './guest.ts';
import { localConfig } from './local-config.ts';
import { type Evidence, junitXml } from './report/junit.ts';
import { markdownSummary, testLine } from './report/summary.ts';
import { hasBadOutput, readResultXml, reconcile } from './result-files.ts';
import type { RecordedTimes } from './times.ts';
import { countOutcomes, judge, type RunReport, type TestOutcome } from './verdict.ts';

export interface RunOptions {
  readonly vm: Vm;
  /**
   * A VM in place of one that was lost, mounted and ready; the rest of the tests goes on there. Without it a lost VM ends
   * the run.
   */
  revive?(): Promise<Vm>;
  readonly bundle: Bundle;
  readonly tests: readonly string[];
  readonly fileSystem: FileSystemProfile;
  readonly devices: RunDevices;
  readonly mounts: { readonly test: string; readonly scratch: string };
  /** Seconds one test may take. */
  readonly testTimeout: number;
  /** Directory of the run on the host, made by `makeRunDirectory`. */
  readonly directory: string;
  /** Identifier of the run. */
  readonly run: string;
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

class Run {
  readonly #options: RunOptions;
  readonly #context: LabContext;
  readonly #started = new Date();
  readonly #outcomes = new Map<string, TestOutcome>();
  readonly #problems: string[] = [];
  readonly #finished = new Set<string>();
  #vm: Vm;
  /** Fetching of a failed test's files, one after the other beside the next tests. */
  #fetching: Promise<void> = Promise.resolve();
  #stopFetching = new AbortController();

  constructor(options: RunOptions, context: LabContext) {
    this.#options = options;
    this.#context = context;
    this.#vm = options.vm;
  }

  async run(): Promise<RunReport> {
    try {
      await this.#attempts();
    } catch (error) {
      if (!this.#context.signal.aborted) throw error;
    }
    if (this.#context.signal.aborted) this.#problems.push('Interrupted.');
    const report = await this.#report();
    await this.#options.times.save();
    if (this.#context.signal.aborted) throw new InterruptedError();
    return report;
  }

  async #attempts(): Promise<void> {
    let left = this.#options.tests;
    for (let attempt = 1; left.length > 0; attempt += 1) {
      const result = await this.#attempt(attempt, left);
      await this.#settle(attempt, left, result);
      const { end } = result;
      if (end.kind === 'complete') {
        this.#judgeExitCode(left, result);
        await this.#mountTestAgain();
        return;
      }
      if (end.kind === 'interrupted') return;
      // What was started has its verdict; without progress a new VM would only be lost in the same way.
      left = left.filter((test) => !this.#outcomes.has(test));
      const moved = result.seconds.size > 0;
      if (left.length === 0) return;
      if (this.#options.revive === undefined || !moved) {
        this.#problems.push(`The VM was lost: ${end.reason}`);
        return;
      }
      this.#context.progress.note(`The VM was lost (${end.reason}); starting another for the rest`);
      this.#vm = await this.#options.revive();
    }
  }

  async #attempt(attempt: number, tests: readonly string[]): Promise<AttemptResult> {
    const { bundle, devices, fileSystem, mounts } = this.#options;
    const { signal, progress } = this.#context;
    progress.update('preparing the guest');
    await deployBundle(this.#vm, bundle, this.#context);
    await prepareFileSystems(this.#vm, fileSystem, devices, mounts, signal);
    await execChecked(this.#vm, ['rm', '-rf', guestResults(attempt)], { signal });
    const leaks = await this.#vm.exec(['test', '-e', '/sys/kernel/debug/kmemleak'], { signal });
    const config = localConfig({
      fileSystem,
      devices,
      testDirectory: mounts.test,
      scratchMount: mounts.scratch,
      resultBase: guestResults(attempt),
      kmemleak: leaks.exitCode === 0,
    });
    await writeGuestFile(this.#vm, GUEST_CONFIG, config, signal);
    progress.update(`starting check for ${tests.length} tests`);
    const result = await attemptTests({
      vm: this.#vm,
      attempt,
      tests,
      signal,
      limit: () => this.#options.testTimeout,
      onStarted: (test) => this.#showProgress(test),
      onFinished: (test, verdict, seconds) => this.#testFinished(attempt, test, verdict, seconds),
      ...(this.#options.timing === undefined ? {} : { timing: this.#options.timing }),
    });
    await writeFile(join(this.#options.directory, `check-${attempt}.log`), result.output);
    return result;
  }

  /** The verdict stands whether this works or not: a test may have left a file system behind that does not mount. */
  async #mountTestAgain(): Promise<void> {
    const { devices, fileSystem, mounts } = this.#options;
    const { signal, progress } = this.#context;
    try {
      await mountTestAgain(this.#vm, fileSystem, devices, mounts.test, signal);
    } catch (error) {
      signal.throwIfAborted();
      progress.note(`${mounts.test} stays unmounted: ${error instanceof Error ? error.message : error}`);
    }
  }

  #showProgress(test: string): void {
    const { tests, times, fileSystem } = this.#options;
    const rest = tests.filter((name) => !this.#finished.has(name));
    const seconds = times.estimate(fileSystem.name, rest);
    const eta = seconds === undefined ? '' : `, ${etaText(seconds)} to go`;
    this.#context.progress.update(`${test} (${tests.length - rest.length + 1} of ${tests.length}${eta})`);
  }

  #testFinished(attempt: number, test: string, verdict: PrintedVerdict | Casualty, seconds: number): void {
    const { progress } = this.#context;
    this.#finished.add(test);
    const status = verdict.status === 'expunged' ? 'notrun' : verdict.status;
    progress.note(testLine({ name: test, status, seconds, reason: verdict.reason }));
    progress.fraction(this.#finished.size / this.#options.tests.length);
    if (status === 'passed') this.#options.times.record(this.#options.fileSystem.name, test, seconds);
    // At once, since the guest may not live until the end.
    if (status === 'failed' || status === 'hung') this.#fetchSoon(attempt, test);
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
      await Promise.race([fetchResults(vm, attempt, this.#options.directory, context, test), stopped]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Turn what an attempt printed and left behind into outcomes. */
  async #settle(attempt: number, tests: readonly string[], result: AttemptResult): Promise<void> {
    const { directory } = this.#options;
    const complete = result.end.kind === 'complete';
    // From a lost VM nothing more is to be had than what is on its way.
    if (complete) await this.#fetching;
    else this.#stopFetching.abort();
    this.#stopFetching = new AbortController();
    if (complete) {
      try {
        await this.#fetch(this.#vm, attempt);
      } catch (error) {
        this.#context.signal.throwIfAborted();
        this.#problems.push(
          `The results could not be fetched: ${error instanceof Error ? error.message : error}`,
        );
      }
    }
    const xml = join(directory, `result-${attempt}.xml`);
    await rename(join(directory, 'result.xml'), xml).catch(() => undefined);
    const recorded = await readResultXml(xml);
    if (complete && recorded.unreadable !== undefined) this.#problems.push(`${recorded.unreadable}.`);
    for (const casualty of result.casualties) {
      await this.#writeState(casualty);
      this.#outcomes.set(casualty.test, this.#outcome(casualty.test, casualty, result));
    }
    for (const test of tests) {
      if (this.#outcomes.has(test)) continue;
      const printed = result.printed.get(test);
      // With the VM its files were lost, or the user does not wait for them; what was printed had reached the host.
      const verdict =
        complete || printed === undefined
          ? reconcile(printed, recorded.tests.get(test), await hasBadOutput(directory, test))
          : { ...printed, status: printed.status === 'expunged' ? ('notrun' as const) : printed.status };
      if (verdict !== undefined) this.#outcomes.set(test, this.#outcome(test, verdict, result));
    }
  }

  #outcome(
    test: string,
    verdict: { readonly status: TestOutcome['status']; readonly reason: string },
    result: AttemptResult,
  ): TestOutcome {
    const seconds = Math.round((result.seconds.get(test) ?? 0) * 1000) / 1000;
    return { name: test, status: verdict.status, seconds, reason: verdict.reason };
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

  async #report(): Promise<RunReport> {
    const { directory, fileSystem, run } = this.#options;
    const outcomes = this.#options.tests.flatMap((test) => this.#outcomes.get(test) ?? []);
    const missing = this.#options.tests.filter((test) => !this.#outcomes.has(test));
    const report: RunReport = {
      run,
      verdict: judge(outcomes, missing, this.#problems),
      counts: countOutcomes(outcomes),
      tests: outcomes,
      missing,
      problems: this.#problems,
      fileSystem: fileSystem.name,
      seconds: Math.round((Date.now() - this.#started.getTime()) / 100) / 10,
      started: this.#started.toISOString(),
    };
    await writeFile(join(directory, 'report.json'), `${JSON.stringify(report, undefined, 2)}\n`);
    await writeFile(
      join(directory, 'junit.xml'),
      `${junitXml(report, await gatherEvidence(directory, outcomes))}\n`,
    );
    await writeFile(join(directory, 'summary.md'), markdownSummary(report));
    return report;
  }
}

/** Files that explain a failure, best first, and how much of each goes into a report. */
const EVIDENCE = ['.out.bad', '.dmesg', '.full', '.state', '.console'];
const EVIDENCE_BYTES = 20_000;

async function gatherEvidence(directory: string, tests: readonly TestOutcome[]): Promise<Evidence> {
  const evidence = new Map<string, string>();
  for (const test of tests) {
    if (test.status === 'passed' || test.status === 'notrun') continue;
    const texts: string[] = [];
    for (const suffix of EVIDENCE) {
      const text = await readFile(join(directory, test.name + suffix), 'utf8').catch(() => '');
      if (text !== '') texts.push(`== ${test.name}${suffix}\n${text.slice(-EVIDENCE_BYTES)}`);
    }
    evidence.set(test.name, texts.join('\n'));
  }
  return evidence;
}

function etaText(seconds: number): string {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}
