// SPDX-License-Identifier: BSD-3-Clause

/** A benchmark from its matrix to the report, in VMs that are booted for it and end with it. */

import { cpus as hostCpus } from 'node:os';
import { join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { mustRun } from '../lab/deploy/guest-command.ts';
import { deployedServer, deployServer, startServer, stopServer } from '../lab/deploy/server.ts';
import { InterruptedError, LabError } from '../lab/errors.ts';
import { ensureVm, obtainArtefacts } from '../lab/lifecycle.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import type { GuestVm } from '../lab/vm/guest.ts';
import { endLab, findLab } from '../lab/vm/running.ts';
import { siblingStateDir, type VmState } from '../lab/vm/state.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { type Declared, readMatrix } from './declared.ts';
import { declaredOf, Journal, makeRunDirectory, type RunPlan, readRun, writePlan } from './journal.ts';
import { guestPrograms } from './measure.ts';
import { type MachinePlan, planMatrix } from './plan.ts';
import { obtainPrograms } from './programs.ts';
import { type BenchReport, makeReport, type RunFacts } from './report/results.ts';
import { writeReports } from './report/write.ts';
import { Progress, runMachine } from './run.ts';
import type { Sample } from './samples.ts';
import type { BenchFileSystem, ServerSettings } from './schema.ts';
import type { ServerControl } from './stage.ts';
import { pinVcpus, qemuVersion } from './vcpus.ts';

export interface BenchRequest {
  /** Name or file of a matrix; with `resume` the directory of a run to go on with, instead. */
  readonly matrix?: string;
  readonly resume?: string;
}

export interface BenchResult {
  readonly report: BenchReport;
  readonly directory: string;
}

/** Every run of this checkout has a directory below this one. */
export function benchRoot(packageRoot: string): string {
  return join(packageRoot, 'build', 'bench');
}

/**
 * Run a matrix, or the rest of one. Interrupted, it writes the report of what was measured and rejects with `InterruptedError`; a
 * VM that is lost does the same with what became of it.
 */
export async function runBench(context: LabContext, request: BenchRequest): Promise<BenchResult> {
  const before = request.resume === undefined ? undefined : await readRun(request.resume);
  const declared =
    before === undefined ? await readMatrix(request.matrix ?? 'short') : declaredOf(before.plan);
  const machines = planMatrix(declared);
  const fuse = machines.some(({ cells }) => cells.some(({ fileSystem }) => fileSystem.kind === 'fuse'));
  const programs = await context.step('Benchmark programs', (step) => obtainPrograms(step, fuse));
  const artefacts = await obtainArtefacts(context);
  if (before !== undefined) requireSame(before.plan.run, artefacts);

  const run = await openRun(context, declared, artefacts, request.resume, before);
  const cells = machines.flatMap((machine) => machine.cells);
  const progress = new Progress(
    new Journal(run.directory),
    cells.length * declared.matrix.rounds,
    before?.samples ?? [],
  );
  if ((await findLab(context)) !== undefined) {
    context.progress.note(
      `The lab '${context.name}' is up too: what runs in it takes CPU from what is measured.`,
    );
  }
  const started = performance.now();
  let failure: unknown;
  try {
    for (const machine of machines) await benchMachine(context, machine, artefacts, programs, run, progress);
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
  context.progress.note(
    `What was measured is in ${run.directory}; zufs-lab bench --resume goes on with the rest.`,
  );
  throw context.signal.aborted ? new InterruptedError() : failure;
}

/** A run while it goes on; its plan learns about the machine when one is up. */
interface OpenRun {
  readonly directory: string;
  plan: RunPlan;
}

async function openRun(
  context: LabContext,
  declared: Declared,
  artefacts: BootArtefacts,
  resumed: string | undefined,
  before: { readonly plan: RunPlan; readonly samples: readonly Sample[] } | undefined,
): Promise<OpenRun> {
  if (resumed !== undefined && before !== undefined) return { directory: resumed, plan: before.plan };
  const { matrix } = declared;
  const now = new Date();
  const name = declared.name.replace(/^.*\//, '').replace(/\.ya?ml$/, '');
  const made = await makeRunDirectory(benchRoot(context.packageRoot), name, now);
  const facts: RunFacts = {
    id: made.id,
    started: now.toISOString(),
    seconds: 0,
    matrix: name,
    rounds: matrix.rounds,
    warmUpSeconds: matrix.warmUp,
    sampleSeconds: matrix.seconds,
    kernel: artefacts.kernel.key,
    flavour: artefacts.kernel.flavour,
    image: artefacts.image.key,
    server: '',
    cpu: hostCpus()[0]?.model ?? '',
    hostCpus: hostCpus().length,
    accelerator: '',
    qemu: '',
    guestKernel: '',
    clock: '',
    machines: [],
    pinned: '',
    options: Object.fromEntries(
      planMatrix(declared).flatMap(({ cells }) =>
        cells.map(({ fs, fileSystem }) => [fs, describe(fileSystem)]),
      ),
    ),
  };
  const plan: RunPlan = {
    run: facts,
    matrix,
    fileSystems: [...declared.fileSystems.values()],
    workloads: [...declared.workloads.values()],
  };
  await writePlan(made.directory, plan);
  return { directory: made.directory, plan };
}

/** How a file system was had, for the record. */
function describe(fileSystem: BenchFileSystem): string {
  const { kind, type, devices, options, settings, program, pinned, direct, buffered } = fileSystem;
  const { extentCache, channels, localCpu } = settings;
  return [
    `${type}${options === undefined ? '' : ` -o ${options}`}, devices: ${devices}`,
    ...(kind === 'served'
      ? [`zus channels=${channels} extentCache=${extentCache}, zuf.local_cpu=${localCpu ? 'Y' : 'N'}`]
      : []),
    ...(program === undefined ? [] : [`below ${pinned ? 'taskset -c 0 ' : ''}${program.join(' ')}`]),
    ...(direct ? ['O_DIRECT'] : []),
    ...(buffered ? ['write(2) may return before the file system below has the data'] : []),
  ].join('; ');
}

/** Figures of two kernels are not one run. */
function requireSame(run: RunFacts, { kernel, image }: BootArtefacts): void {
  for (const [what, was, is] of [
    ['kernel', run.kernel, kernel.key],
    ['image', run.image, image.key],
  ]) {
    if (was === is) continue;
    throw new LabError(`${run.id} was measured with the ${what} ${was}, and the settings now give ${is}.`, {
      hint: 'Resume it from the checkout and with the settings that it was begun with, or start another run.',
    });
  }
}

async function benchMachine(
  context: LabContext,
  plan: MachinePlan,
  artefacts: BootArtefacts,
  programs: readonly string[],
  run: OpenRun,
  progress: Progress,
): Promise<void> {
  const { rounds, warmUp: warmUpSeconds, seconds } = run.plan.matrix;
  const all = Array.from({ length: rounds }, (_, round) => round + 1);
  if (plan.cells.every((cell) => all.every((round) => progress.has(cell, round)))) return;
  const lab = benchContext(context, plan);
  await using _ = {
    [Symbol.asyncDispose]: async () => {
      await endLab(lab, lab.name, lab.stateDir, { keepLogs: true });
    },
  };
  // One that a killed run left behind has been used.
  await endLab(lab, lab.name, lab.stateDir, { keepLogs: true });
  const { vm, state } = await ensureVm(lab, artefacts);
  await using __ = vm;
  const server = new ZusControl(lab, vm);
  await context.step('Set-up', async (step) => {
    for (const directory of programs) await vm.upload(directory, guestPrograms, step);
    await recordFacts(lab, vm, state, run);
    if (plan.cells.some(({ fileSystem }) => fileSystem.kind === 'served'))
      await recordServer(server, vm, run, step);
  });
  const cpus = Array.from({ length: state.cpus }, (_, cpu) => cpu);
  await context.step(`Benchmark ${run.plan.run.matrix}, ${state.cpus} vCPUs`, (step) =>
    runMachine(
      {
        plan,
        rounds,
        timing: { warmUp: warmUpSeconds, seconds, cpus },
        vm,
        devices: state.testDevices,
        server,
      },
      progress,
      step,
    ),
  );
}

/** The lab of a benchmark: beside the user's own, with the machine that the matrix wants. */
function benchContext(context: LabContext, { machine, cells }: MachinePlan): LabContext {
  const { config } = context;
  const name = `${context.name}-bench`;
  const vm = {
    ...config.vm,
    pmemPerNode: 1,
    ...Object.fromEntries(Object.entries(machine).filter(([, value]) => value !== undefined)),
  };
  const types = cells
    .filter(({ fileSystem }) => fileSystem.kind === 'served')
    .map((cell) => cell.fileSystem.type);
  const filesystems = [...new Set([...config.server.filesystems, ...types])];
  return {
    ...context,
    name,
    stateDir: siblingStateDir(context, name),
    config: { ...config, vm, server: { ...config.server, filesystems } },
  };
}

async function recordFacts(context: LabContext, vm: Vm, state: VmState, run: OpenRun): Promise<void> {
  const { signal, config } = context;
  const said = async (command: readonly string[]) =>
    (await mustRun(vm, 'The guest does not say what it is', command, { signal })).stdout.trim();
  const machine = {
    cpus: state.cpus,
    nodes: config.vm.nodes,
    memory: config.vm.memory,
    pmemSize: config.vm.pmemSize,
  };
  const { run: facts } = run.plan;
  const known = facts.machines.some((one) => JSON.stringify(one) === JSON.stringify(machine));
  run.plan = {
    ...run.plan,
    run: {
      ...facts,
      accelerator: state.accelerator,
      qemu: await qemuVersion(context.stateDir),
      pinned: await pinVcpus(context.stateDir, state),
      guestKernel: await said(['uname', '-r']),
      clock: await said(['cat', '/sys/devices/system/clocksource/clocksource0/current_clocksource']),
      machines: known ? facts.machines : [...facts.machines, machine],
    },
  };
  await writePlan(run.directory, run.plan);
}

async function recordServer(
  server: ZusControl,
  vm: GuestVm,
  run: OpenRun,
  context: LabContext,
): Promise<void> {
  await server.ensure({ extentCache: true, channels: 1, localCpu: true });
  // Its arguments change from one file system to the next.
  const [key] = (await deployedServer(vm, context.signal)).split(' ');
  const { run: facts } = run.plan;
  if (facts.server !== '' && facts.server !== key) {
    throw new LabError(
      `${facts.id} was measured with the server ${facts.server}, and the checkout now has ${key}.`,
      {
        hint: 'Resume it from the checkout that it was begun with, or start another run.',
      },
    );
  }
  run.plan = { ...run.plan, run: { ...facts, server: key } };
  await writePlan(run.directory, run.plan);
}

/** zus in the guest, deployed once and started anew whenever other settings are asked for. */
class ZusControl implements ServerControl {
  readonly #context: LabContext;
  readonly #vm: Vm;
  #settings = '';

  constructor(context: LabContext, vm: Vm) {
    this.#context = context;
    this.#vm = vm;
  }

  async ensure(settings: ServerSettings): Promise<void> {
    const wanted = JSON.stringify(settings);
    if (wanted === this.#settings) return;
    const { signal, config } = this.#context;
    const deployed = this.#settings !== '';
    this.#settings = '';
    const { localCpu, channels, extentCache } = settings;
    const context = {
      ...this.#context,
      config: { ...config, server: { ...config.server, channels, extentCache } },
    };
    if (deployed) await stopServer(this.#vm, signal);
    await mustRun(
      this.#vm,
      'zuf does not take its setting',
      ['tee', '/sys/module/zuf/parameters/local_cpu'],
      {
        signal,
        input: localCpu ? 'Y\n' : 'N\n',
      },
    );
    if (deployed) await startServer(context, this.#vm);
    else await deployServer(context, this.#vm);
    this.#settings = wanted;
  }
}
