// SPDX-License-Identifier: BSD-3-Clause

/** A run on record: what it is made with, as it gets to know it. */

import type { LabContext } from '../lab/context.ts';
import { mustRun } from '../lab/deploy/guest-command.ts';
import { deployedServer } from '../lab/deploy/server.ts';
import { LabError } from '../lab/errors.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import type { Vm } from '../lab/vm/vm.ts';
import type { Declared } from './declared.ts';
import type { BenchVm } from './host.ts';
import { benchRoot, makeRunDirectory, nameOf, type RunPlan, writePlan } from './journal.ts';
import { planMatrix } from './plan.ts';
import type { RunFacts } from './report/results.ts';
import type { BenchFileSystem } from './schema.ts';
import type { ZusControl } from './zus-control.ts';

/** A run while it goes on; its plan learns about the machine when one is up. */
export interface OpenRun {
  readonly directory: string;
  plan: RunPlan;
}

/** A new run, with a directory of its own. */
export async function openRun(
  context: LabContext,
  declared: Declared,
  artefacts: BootArtefacts,
): Promise<OpenRun> {
  const { matrix } = declared;
  const now = new Date();
  const name = nameOf(declared);
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
    cpu: '',
    hostCpus: 0,
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

/** Figures of two kernels are not one run, nor those of two machines. */
export function requireSame(run: RunFacts, { kernel, image }: BootArtefacts): void {
  if (run.node !== undefined) {
    throw new LabError(`${run.id} was measured on ${run.node}, and cannot be gone on with on this machine.`);
  }
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

/** `context`: of the plan (`benchContext`). */
export async function recordFacts(context: LabContext, booted: BenchVm, run: OpenRun): Promise<void> {
  const { signal, config } = context;
  const said = async (command: readonly string[]) =>
    (await mustRun(booted.vm, 'The guest does not say what it is', command, { signal })).stdout.trim();
  const { nodes, memory, pmemSize } = config.vm;
  const machine = { cpus: booted.cpus, nodes, memory, pmemSize };
  const { run: facts } = run.plan;
  const known = facts.machines.some((one) => JSON.stringify(one) === JSON.stringify(machine));
  run.plan = {
    ...run.plan,
    run: {
      ...facts,
      ...booted.facts,
      guestKernel: await said(['uname', '-r']),
      clock: await said(['cat', '/sys/devices/system/clocksource/clocksource0/current_clocksource']),
      machines: known ? facts.machines : [...facts.machines, machine],
    },
  };
  await writePlan(run.directory, run.plan);
}

export async function recordServer(
  server: ZusControl,
  vm: Vm,
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
