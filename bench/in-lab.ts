// SPDX-License-Identifier: BSD-3-Clause

/** A benchmark from its matrix to the report, in VMs that are booted for it and end with it. */

import type { LabContext } from '../lab/context.ts';
import { InterruptedError } from '../lab/errors.ts';
import { obtainArtefacts } from '../lab/lifecycle.ts';
import { withRunLock } from '../lab/run-lock.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import { type Declared, readMatrix } from './declared.ts';
import { type OpenRun, openRun, recordFacts, recordServer, requireSame } from './facts.ts';
import { type BenchHost, benchContext, besideForBench, LocalHost, warnOfNeighbour } from './host.ts';
import { declaredOf, Journal, readRun, writePlan } from './journal.ts';
import { guestPrograms } from './measure.ts';
import { type MachinePlan, planMatrix } from './plan.ts';
import { obtainPrograms } from './programs.ts';
import { type BenchReport, makeReport } from './report/results.ts';
import { writeReports } from './report/write.ts';
import { Progress, runMachine } from './run.ts';
import type { Sample } from './samples.ts';
import { ZusControl } from './zus-control.ts';

export interface BenchRequest {
  /** Name or file of a matrix; with `resume` the directory of a run to go on with, instead. */
  readonly matrix?: string;
  readonly resume?: string;
}

export interface BenchResult {
  readonly report: BenchReport;
  readonly directory: string;
}

/** All that a matrix is measured with, on whatever machine. */
export interface BenchWork {
  readonly declared: Declared;
  readonly machines: readonly MachinePlan[];
  /** Directories whose content goes to the guest. */
  readonly programs: readonly string[];
  readonly artefacts: BootArtefacts;
}

/** A run that is gone on with. */
interface Resumed extends OpenRun {
  readonly samples: readonly Sample[];
}

/**
 * Run a matrix on this machine, or the rest of one. Interrupted, it writes the report of what was measured and rejects with
 * `InterruptedError`; a VM that is lost does the same with what became of it.
 */
export async function runBench(context: LabContext, request: BenchRequest): Promise<BenchResult> {
  const { resume, matrix } = request;
  const before = resume === undefined ? undefined : { directory: resume, ...(await readRun(resume)) };
  const declared = before === undefined ? await readMatrix(matrix ?? 'short') : declaredOf(before.plan);
  return await withRunLock([besideForBench(context)], async () => {
    const work = await prepareBench(context, declared);
    if (before !== undefined) requireSame(before.plan.run, work.artefacts);
    await warnOfNeighbour(context);
    return await measureRun(context, work, new LocalHost(work.artefacts), before);
  });
}

export async function prepareBench(context: LabContext, declared: Declared): Promise<BenchWork> {
  const machines = planMatrix(declared);
  const fuse = machines.some(({ cells }) => cells.some(({ fileSystem }) => fileSystem.kind === 'fuse'));
  const programs = await context.step('Benchmark programs', (step) => obtainPrograms(step, fuse));
  return { declared, machines, programs, artefacts: await obtainArtefacts(context) };
}

/** Measure what is prepared, in a run of its own or what is left of one. However it ends, there is a report of what was measured. */
export async function measureRun(
  context: LabContext,
  work: BenchWork,
  host: BenchHost,
  before?: Resumed,
): Promise<BenchResult> {
  const { declared, machines, artefacts } = work;
  const run = before ?? (await openRun(context, declared, artefacts));
  const cells = machines.flatMap((machine) => machine.cells);
  const progress = new Progress(
    new Journal(run.directory),
    cells.length * declared.matrix.rounds,
    before?.samples ?? [],
  );
  const started = performance.now();
  let failure: unknown;
  try {
    for (const machine of machines) await measureMachine(context, machine, work, host, run, progress);
  } catch (error) {
    failure = error;
  }
  const seconds = run.plan.run.seconds + Math.round((performance.now() - started) / 1000);
  run.plan = { ...run.plan, run: { ...run.plan.run, seconds } };
  await writePlan(run.directory, run.plan);
  const report = makeReport({
    run: run.plan.run,
    cells: cells.map(({ fs, workload, threads }) => ({ fs, workload: workload.name, threads })),
    samples: progress.samples,
    failures: progress.failures,
    ratios: declared.matrix.ratios,
    workloads: declared.workloads,
  });
  await writeReports(run.directory, report, declared);
  if (failure === undefined) return { report, directory: run.directory };
  const here = run.plan.run.node === undefined;
  context.progress.note(
    `What was measured is in ${run.directory}${here ? '; zufs-lab bench --resume goes on with the rest' : ''}.`,
  );
  throw context.signal.aborted ? new InterruptedError() : failure;
}

async function measureMachine(
  context: LabContext,
  plan: MachinePlan,
  { programs }: BenchWork,
  host: BenchHost,
  run: OpenRun,
  progress: Progress,
): Promise<void> {
  const { rounds, warmUp: warmUpSeconds, seconds } = run.plan.matrix;
  const all = Array.from({ length: rounds }, (_, round) => round + 1);
  if (plan.cells.every((cell) => all.every((round) => progress.has(cell, round)))) return;
  const lab = benchContext(context, plan);
  await using _ = { [Symbol.asyncDispose]: () => host.end(lab) };
  const booted = await host.boot(lab);
  const { vm, devices } = booted;
  const server = new ZusControl(lab, vm);
  await context.step('Set-up', async (step) => {
    for (const directory of programs) await vm.upload(directory, guestPrograms, step);
    await recordFacts(lab, booted, run);
    if (plan.cells.some(({ fileSystem }) => fileSystem.kind === 'served'))
      await recordServer(server, vm, run, step);
  });
  const cpus = Array.from({ length: booted.cpus }, (_, cpu) => cpu);
  await context.step(`Benchmark ${run.plan.run.matrix}, ${cpus.length} vCPUs`, (step) =>
    runMachine(
      { plan, rounds, timing: { warmUp: warmUpSeconds, seconds, cpus }, vm, devices, server },
      progress,
      step,
    ),
  );
}
