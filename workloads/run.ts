// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { InterruptedError, LabError } from '../lab/errors.ts';
import { NodeCounts } from '../lab/test-run/node-counts.ts';
import { type QueueWorker, TestQueue } from '../lab/test-run/queue.ts';
import { testLine } from '../lab/test-run/report/summary.ts';
import { writeReports } from '../lab/test-run/report/write.ts';
import { makeRunDirectory } from '../lab/test-run/run-directory.ts';
import { RecordedTimes, seriesOf } from '../lab/test-run/times.ts';
import {
  countOutcomes,
  judge,
  type Provenance,
  type RunReport,
  type TestOutcome,
} from '../lab/test-run/verdict.ts';
import { abortable } from '../lab/vm/abortable.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import type { Length, Workload } from './definition.ts';
import type { WorkloadLab, WorkloadVm } from './lab.ts';
import { neededFiles } from './needs.ts';
import { runWorkload, type WorkloadResult } from './workload-run.ts';

export interface WorkloadsRequest {
  readonly workloads: readonly Workload[];
  readonly length: Length;
  /** Every run has a directory below it. */
  readonly resultsRoot: string;
}

export interface WorkloadsResult {
  readonly report: RunReport;
  readonly directory: string;
}

/**
 * Run workloads on the file system of `mount.filesystem`, in the labs that are given, which may be still to come: one alone runs them
 * one after the other, several take the next as soon as they are through with the last, those that take long first. The verdict
 * is in the report; interrupted, the report of what ran is written, then it rejects with `InterruptedError`.
 */
export async function runWorkloads(
  context: LabContext,
  artefacts: BootArtefacts,
  labs: readonly (WorkloadLab | Promise<WorkloadLab>)[],
  request: WorkloadsRequest,
): Promise<WorkloadsResult> {
  const times = await RecordedTimes.load(join(context.cacheRoot, 'workloads-times.json'), {
    others: 1,
    tests: {},
  });
  return await new WorkloadsRun(context, artefacts, request, times).run(labs);
}

class WorkloadsRun {
  readonly #context: LabContext;
  readonly #artefacts: BootArtefacts;
  readonly #request: WorkloadsRequest;
  readonly #times: RecordedTimes;
  readonly #series: string;
  readonly #started = new Date();
  readonly #outcomes = new Map<string, TestOutcome>();
  readonly #nodes = new NodeCounts();
  readonly #problems: string[] = [];
  readonly #events: string[] = [];
  /** Why labs were given up: a problem, unless others ran the rest. */
  readonly #lost: string[] = [];
  #facts: Pick<Provenance, 'server' | 'accelerator' | 'cpus'> = { server: '', accelerator: '', cpus: 0 };
  #directory = '';

  constructor(
    context: LabContext,
    artefacts: BootArtefacts,
    request: WorkloadsRequest,
    times: RecordedTimes,
  ) {
    this.#context = context;
    this.#artefacts = artefacts;
    this.#request = request;
    this.#times = times;
    const { short, time } = request.length;
    const series = seriesOf(context.config.mount.filesystem, artefacts.kernel.flavour);
    this.#series = [series, ...(short ? ['short'] : []), ...(time === undefined ? [] : [`${time} s`])].join(
      ' ',
    );
  }

  async run(labs: readonly (WorkloadLab | Promise<WorkloadLab>)[]): Promise<WorkloadsResult> {
    const { signal, config } = this.#context;
    const { workloads, resultsRoot } = this.#request;
    const names = workloads.map(({ name }) => name);
    const made = await makeRunDirectory(resultsRoot, config.mount.filesystem, this.#started);
    this.#directory = made.directory;
    // One alone takes them in the order in which they are declared.
    const seconds = labs.length === 1 ? () => 1 : this.#times.expected(this.#series, names);
    const queue = new TestQueue(names, labs.length, seconds, { oneByOne: true });
    await Promise.all(labs.map((lab) => this.#useLab(lab, queue)));
    await this.#times.save();
    const report = this.#report(made.run, labs.length);
    await writeReports(made.directory, report);
    if (signal.aborted) throw new InterruptedError();
    return { report, directory: made.directory };
  }

  async #useLab(coming: WorkloadLab | Promise<WorkloadLab>, queue: TestQueue): Promise<void> {
    const { signal } = this.#context;
    const worker = queue.worker();
    let lab: WorkloadLab | undefined;
    try {
      lab = (await abortable(Promise.race([coming, queue.done]), signal)) ?? undefined;
      if (lab !== undefined) await this.#work(lab, worker);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof LabError)) throw error;
      this.#lost.push(error.message);
    } finally {
      worker.leave();
      await lab?.release();
    }
  }

  async #work(lab: WorkloadLab, worker: QueueWorker): Promise<void> {
    const { signal } = this.#context;
    const done = new AbortController();
    void worker.done.then(() => done.abort());
    while (await worker.isWanted(signal)) {
      let at: WorkloadVm;
      try {
        at = await lab.ready(this.#context, AbortSignal.any([signal, done.signal]));
      } catch (error) {
        // The others ran the rest while it waited for a VM.
        if (done.signal.aborted) return;
        throw error;
      }
      this.#facts = lab.facts();
      const [name] = await worker.take(signal);
      const workload = this.#request.workloads.find((one) => one.name === name);
      if (workload === undefined) return;
      worker.giveBack((await this.#runOne(workload, lab, at, worker)) ? [] : [name]);
    }
  }

  /** Whether it is settled. */
  async #runOne(workload: Workload, lab: WorkloadLab, at: WorkloadVm, worker: QueueWorker): Promise<boolean> {
    const { name } = workload;
    let result: WorkloadResult;
    try {
      result = await this.#context.step(name, (step) => this.#result(step, workload, lab, at));
    } catch (error) {
      this.#context.signal.throwIfAborted();
      if (!(error instanceof LabError)) throw error;
      this.#problems.push(`${name}: ${error.message}`);
      await lab.distrust(this.#context, `${name}: ${error.message}`);
      return true;
    }
    this.#events.push(...result.events);
    if (result.killed && worker.spares(name)) {
      const event = `The VM was lost (${result.outcome.reason}): ${name} runs once more.`;
      this.#events.push(event);
      this.#context.progress.note(event);
      return false;
    }
    this.#settle(result.outcome, lab);
    return true;
  }

  async #result(
    step: LabContext,
    workload: Workload,
    lab: WorkloadLab,
    at: WorkloadVm,
  ): Promise<WorkloadResult> {
    const files = await neededFiles(step, workload);
    if (typeof files === 'string') {
      const outcome = { name: workload.name, status: 'notrun', seconds: 0, reason: files } as const;
      return { outcome, killed: false, events: [] };
    }
    const { length } = this.#request;
    return await runWorkload(step, lab, at, { workload, length, files, directory: this.#directory });
  }

  #settle(outcome: TestOutcome, lab: WorkloadLab): void {
    const { name, status, seconds } = outcome;
    const node = lab.node?.();
    this.#outcomes.set(name, node === undefined ? outcome : { ...outcome, node });
    if (node !== undefined) this.#nodes.add(node, outcome);
    if (status === 'passed') this.#times.record(this.#series, name, status, seconds);
    this.#context.progress.note(testLine(outcome));
  }

  #report(run: string, shards: number): RunReport {
    const { config, signal } = this.#context;
    const { kernel, image } = this.#artefacts;
    const names = this.#request.workloads.map(({ name }) => name);
    const outcomes = names.flatMap((name) => this.#outcomes.get(name) ?? []);
    const missing = names.filter((name) => !this.#outcomes.has(name));
    const problems = [
      ...this.#problems,
      ...(missing.length > 0 ? this.#lost : []),
      ...(signal.aborted ? ['Interrupted.'] : []),
    ];
    return {
      run,
      suite: 'workloads',
      verdict: judge(outcomes, missing, problems),
      counts: countOutcomes(outcomes),
      tests: outcomes,
      missing,
      problems,
      events: [...this.#events, ...(missing.length > 0 ? [] : this.#lost)],
      fileSystem: config.mount.filesystem,
      seconds: Math.round((Date.now() - this.#started.getTime()) / 100) / 10,
      started: this.#started.toISOString(),
      shards,
      ...this.#nodes.forReport(),
      provenance: {
        kernel: kernel.key,
        flavour: kernel.flavour,
        image: image.key,
        xfstests: '',
        ...this.#facts,
      },
    };
  }
}
