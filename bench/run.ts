// SPDX-License-Identifier: BSD-3-Clause

import type { TaskContext } from '../lab/runtime/runtime.ts';
import { VmFailure } from '../lab/vm/failure.ts';
import type { Vm } from '../lab/vm/vm.ts';
import type { Journal } from './journal.ts';
import { Measurer, mountPoint, type Timing } from './measure.ts';
import { type Cell, cellKey, keyOf, type MachinePlan, threadsText, type Visit, visits } from './plan.ts';
import { type Failure, oneLine, type Sample } from './samples.ts';
import { type ServerControl, Stage } from './stage.ts';

export interface MachineRun {
  readonly plan: MachinePlan;
  readonly rounds: number;
  readonly timing: Timing;
  readonly vm: Vm;
  /** One pmem device of each node. */
  readonly devices: readonly string[];
  readonly server: ServerControl;
}

/** Keeps what a run measures, over all of its machines, and shows how far it is. */
export class Progress {
  readonly samples: Sample[];
  readonly failures: Failure[] = [];
  readonly #done: Set<string>;
  readonly #journal: Journal;
  readonly #total: number;

  constructor(journal: Journal, total: number, before: readonly Sample[]) {
    this.#journal = journal;
    this.#total = total;
    this.samples = [...before];
    this.#done = new Set(before.map((sample) => `${cellKey(sample)} ${sample.round}`));
  }

  has(cell: Cell, round: number): boolean {
    return this.#done.has(`${keyOf(cell)} ${round}`);
  }

  take(entry: Sample | Failure): void {
    this.#journal.write(entry);
    this.#done.add(`${cellKey(entry)} ${entry.round}`);
    if ('error' in entry) this.failures.push(entry);
    else this.samples.push(entry);
  }

  show(context: TaskContext, text: string): void {
    context.progress.update(`${text} (${this.#done.size} of ${this.#total})`);
    context.progress.fraction(this.#done.size / this.#total);
  }
}

/**
 * All of one machine's measurements that are not there yet, in interleaved rounds. One that fails is kept as such, and the next
 * file system is set up; a VM that is lost rejects.
 */
export async function runMachine(run: MachineRun, progress: Progress, context: TaskContext): Promise<void> {
  const { vm, devices, server } = run;
  const stage = new Stage({ vm, devices, server, signal: context.signal });
  for (const visit of visits(run.plan, run.rounds)) {
    const left = visit.cells.filter((cell) => !progress.has(cell, visit.round));
    if (left.length > 0) await makeVisit(run, stage, { ...visit, cells: left }, progress, context);
  }
  await stage.clear();
}

async function makeVisit(
  run: MachineRun,
  stage: Stage,
  { round, fileSystem, cells }: Visit,
  progress: Progress,
  context: TaskContext,
): Promise<void> {
  const { signal } = context;
  const measurer = new Measurer(run.vm, mountPoint, run.timing, signal);
  const where = `round ${round} of ${run.rounds}: ${fileSystem.name}`;
  try {
    progress.show(context, where);
    await stage.set(fileSystem);
  } catch (error) {
    const message = await failureOf(error, run.vm, signal);
    for (const cell of cells) fail(cell, round, message, progress, context);
    return;
  }
  for (const cell of cells) {
    progress.show(context, `${where}, ${cell.workload.name}, ${threadsText(cell.threads)}`);
    try {
      progress.take(await measurer.sample(cell, round));
    } catch (error) {
      fail(cell, round, await failureOf(error, run.vm, signal), progress, context);
    }
  }
}

function fail(cell: Cell, round: number, error: string, progress: Progress, context: TaskContext): void {
  const { fs, workload, threads } = cell;
  progress.take({ fs, workload: workload.name, threads, round, error });
  context.progress.note(`${fs}, ${workload.name}, ${threadsText(threads)}: ${oneLine(error)}`);
}

/** Rejects with what nothing can go on after. */
async function failureOf(error: unknown, vm: Vm, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  if (error instanceof VmFailure || !(error instanceof Error)) throw error;
  // What became of a VM elsewhere is told by what it says of itself alone.
  if ((await vm.health()).state !== 'running') throw error;
  return error.message;
}
