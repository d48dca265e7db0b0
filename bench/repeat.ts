// SPDX-License-Identifier: BSD-3-Clause

/** A matrix several times, each time as a run of its own: on this machine, or on others beside each other. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { InterruptedError, LabError } from '../lab/errors.ts';
import { startTasks, type TasksRequest } from '../lab/remote/start-tasks.ts';
import type { TaskEngine } from '../lab/remote/task-engine.ts';
import type { TaskVm } from '../lab/remote/task-vms.ts';
import { withRunLock } from '../lab/run-lock.ts';
import { openSwarm } from '../lab/swarm/open.ts';
import { abortable } from '../lab/vm/abortable.ts';
import { type Declared, readMatrix } from './declared.ts';
import {
  type BenchHost,
  benchContext,
  besideForBench,
  LocalHost,
  RemoteHost,
  warnOfNeighbour,
} from './host.ts';
import { type BenchWork, measureRun, prepareBench } from './in-lab.ts';
import { makeRunDirectory, nameOf } from './journal.ts';
import {
  makeRepeats,
  type Repeat,
  type RepeatsReport,
  repeatsMarkdown,
  repeatsPage,
} from './report/repeats.ts';
import type { BenchReport } from './report/results.ts';

export interface RepeatRequest {
  /** Name or file of a matrix. */
  readonly matrix?: string;
  readonly repeats: number;
}

export interface RepeatsResult {
  readonly report: RepeatsReport;
  readonly directory: string;
}

/** Measure one after the other on this machine. */
export async function repeatBench(context: LabContext, request: RepeatRequest): Promise<RepeatsResult> {
  const declared = await declaredOf(request);
  return await withRunLock([besideForBench(context)], async () => {
    const work = await prepareBench(context, declared);
    await warnOfNeighbour(context);
    return await repeatOn(new LocalHost(work.artefacts), context, work, request.repeats);
  });
}

/** Measure what is prepared one after the other on one machine. */
export async function repeatOn(
  host: BenchHost,
  context: LabContext,
  work: BenchWork,
  repeats: number,
): Promise<RepeatsResult> {
  return await gather(context, work.declared, async (settle) => {
    for (let number = 1; number <= repeats && !context.signal.aborted; number += 1) {
      await settle(number, () =>
        context.step(
          `Repeat ${number} of ${repeats}`,
          async (step) => (await measureRun(step, work, host)).report,
        ),
      );
    }
  });
}

/** Measure in tasks of the swarm of which the engine of this machine is a manager: one for each repeat, and one on a node at a time. */
export async function repeatBenchOnSwarm(
  context: LabContext,
  request: RepeatRequest,
): Promise<RepeatsResult> {
  const declared = await declaredOf(request);
  const swarm = await openSwarm(context);
  return await repeatOnTasks(context, await prepareBench(context, declared), request.repeats, swarm);
}

/** Measure what is prepared in VMs of tasks that `engine` starts. */
export async function repeatOnTasks(
  context: LabContext,
  work: BenchWork,
  repeats: number,
  engine: TaskEngine,
): Promise<RepeatsResult> {
  const { joinTimeout } = context.config.swarm;
  const order: TasksRequest = {
    tasks: repeats,
    artefacts: work.artefacts,
    deploy: 'nothing',
    alone: true,
    joinTimeout,
  };
  // Their first VM is that of the first plan.
  await using run = await startTasks(benchContext(context, work.machines[0]), engine, order);
  return await gather(context, work.declared, async (settle) => {
    await Promise.all(
      run.vms.all.map((coming, at) =>
        settle(at + 1, async () => {
          const task = await abortable(coming, context.signal);
          const title = `Repeat ${at + 1} of ${repeats}, on ${task.node()}`;
          // What is brought to a guest is put together in a directory of the lab's.
          const name = `${context.name}-${at + 1}`;
          return await context.step(title, (step) => measureOn(task, { ...step, name }, work));
        }),
      ),
    );
  });
}

/** A run whose VM is lost begins anew once: on another machine it would not be the same run. */
async function measureOn(task: TaskVm, context: LabContext, work: BenchWork): Promise<BenchReport> {
  const host = new RemoteHost(task);
  try {
    return (await measureRun(context, work, host)).report;
  } catch (error) {
    context.signal.throwIfAborted();
    if (!(error instanceof LabError) || !(await host.isLost())) throw error;
    context.progress.note(`The VM on ${task.node()} was lost: the repeat begins anew. ${error.message}`);
    await host.replace(context.signal);
    return (await measureRun(context, work, host)).report;
  } finally {
    task.release();
  }
}

async function declaredOf({ matrix = 'short' }: RepeatRequest): Promise<Declared> {
  return await readMatrix(matrix);
}

type Settle = (number: number, measure: () => Promise<BenchReport>) => Promise<void>;

/** Have repeats measured, and write what they say beside each other; interrupted, of those that came to their end. */
async function gather(
  context: LabContext,
  declared: Declared,
  body: (settle: Settle) => Promise<void>,
): Promise<RepeatsResult> {
  const now = new Date();
  const matrix = nameOf(declared);
  const root = join(context.packageRoot, 'build', 'bench-repeats');
  const { id, directory } = await makeRunDirectory(root, matrix, now);
  const repeats: Repeat[] = [];
  await body(async (number, measure) => {
    try {
      repeats.push({ number, report: await measure() });
    } catch (error) {
      if (context.signal.aborted) return;
      if (!(error instanceof LabError)) throw error;
      repeats.push({ number, reason: error.message });
      context.progress.note(`Repeat ${number}: ${error.message}`);
    }
  });
  const report = makeRepeats(
    { id, matrix, started: now.toISOString() },
    repeats.toSorted((a, b) => a.number - b.number),
  );
  await writeRepeats(directory, report);
  if (!context.signal.aborted) return { report, directory };
  context.progress.note(`The repeats that came to their end are in ${directory}.`);
  throw new InterruptedError();
}

async function writeRepeats(directory: string, report: RepeatsReport): Promise<void> {
  await writeFile(join(directory, 'repeats.json'), `${JSON.stringify(report, undefined, 1)}\n`);
  await writeFile(join(directory, 'summary.md'), repeatsMarkdown(report));
  const toRun = (id: string) => `../../bench/${encodeURIComponent(id)}/index.html`;
  await writeFile(join(directory, 'index.html'), repeatsPage(report, toRun));
}
