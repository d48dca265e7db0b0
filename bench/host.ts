// SPDX-License-Identifier: BSD-3-Clause

/** Where a run is measured: the VMs that it has, one after the other. */

import type { LabContext } from '../lab/context.ts';
import { ensureVm } from '../lab/lifecycle.ts';
import type { ReadyTaskVm, TaskVm } from '../lab/remote/task-vms.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import type { GuestVm } from '../lab/vm/guest.ts';
import { endLab, findLab } from '../lab/vm/running.ts';
import { siblingStateDir } from '../lab/vm/state.ts';
import { hostCpu, pinVcpus, qemuVersion } from '../lab/vm/vcpus.ts';
import type { Vm } from '../lab/vm/vm.ts';
import type { MachinePlan } from './plan.ts';
import type { RunFacts } from './report/results.ts';

/** What the VMs of a run say of the machine that they are on. */
export type HostFacts = Pick<RunFacts, 'node' | 'cpu' | 'hostCpus' | 'accelerator' | 'qemu' | 'pinned'>;

/** A VM with the machine that a plan wants, its vCPUs bound where that can be, and nothing in it yet. */
export interface BenchVm {
  readonly vm: Vm;
  readonly cpus: number;
  /** One pmem device of each node. */
  readonly devices: readonly string[];
  readonly facts: HostFacts;
}

export interface BenchHost {
  /** `context`: of the plan (`benchContext`). The VM before this one is gone. */
  boot(context: LabContext): Promise<BenchVm>;
  /** The run needs its VM no more. */
  end(context: LabContext): Promise<void>;
}

/** This machine. */
export class LocalHost implements BenchHost {
  readonly #artefacts: BootArtefacts;
  #vm: GuestVm | undefined;

  constructor(artefacts: BootArtefacts) {
    this.#artefacts = artefacts;
  }

  async boot(context: LabContext): Promise<BenchVm> {
    // One that a killed run left behind has been used.
    await this.end(context);
    const { vm, state } = await ensureVm(context, this.#artefacts);
    this.#vm = vm;
    const { cpu, cpus: hostCpus } = hostCpu();
    const { accelerator, cpus, testDevices: devices } = state;
    const qemu = await qemuVersion(context.stateDir);
    const pinned = await pinVcpus(context.stateDir, state);
    return { vm, cpus, devices, facts: { cpu, hostCpus, accelerator, qemu, pinned } };
  }

  async end(context: LabContext): Promise<void> {
    await this.#vm?.[Symbol.asyncDispose]();
    this.#vm = undefined;
    await endLab(context, context.name, context.stateDir, { keepLogs: true });
  }
}

/** A task elsewhere, whose first VM is that of the run's first plan. */
export class RemoteHost implements BenchHost {
  readonly #task: TaskVm;
  #vm: Vm | undefined;
  #unused: ReadyTaskVm | undefined;

  constructor(task: TaskVm) {
    this.#task = task;
    this.#unused = task;
  }

  /** Whether the VM that it booted last is no more. */
  async isLost(): Promise<boolean> {
    return (await (this.#vm ?? this.#task.vm).health()).state !== 'running';
  }

  /** Another machine for a run that has to begin anew, or the same one if it can boot again. */
  async replace(signal: AbortSignal): Promise<void> {
    this.#unused = await this.#task.revive(signal);
  }

  async boot({ config, signal }: LabContext): Promise<BenchVm> {
    const { cpus, nodes, memory, pmemSize } = config.vm;
    const machine = { cpus, nodes, memory, pmemSize };
    const booted = this.#unused ?? (await this.#task.again({ keepPmem: false, machine }, signal));
    this.#unused = undefined;
    this.#vm = booted.vm;
    const pinned = await this.#task.bindVcpus();
    const { host, devices } = booted;
    return {
      vm: booted.vm,
      cpus: booted.machine.cpus,
      devices: devices.test,
      facts: {
        node: this.#task.node(),
        cpu: host.cpu,
        hostCpus: host.cpus,
        accelerator: booted.machine.accelerator,
        qemu: host.qemu,
        pinned,
      },
    };
  }

  /** The task itself lives as long as the run has it. */
  async end(): Promise<void> {}
}

/** The lab of a benchmark, beside the user's own. */
export function besideForBench(context: LabContext): LabContext {
  const name = `${context.name}-bench`;
  return { ...context, name, stateDir: siblingStateDir(context, name) };
}

/** The lab of a benchmark, with the machine that the matrix wants. */
export function benchContext(context: LabContext, { machine, cells }: MachinePlan): LabContext {
  const { config } = context;
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
    ...besideForBench(context),
    config: { ...config, vm, server: { ...config.server, filesystems } },
  };
}

/** What else runs on this machine takes CPU from what is measured. */
export async function warnOfNeighbour(context: LabContext): Promise<void> {
  if ((await findLab(context)) === undefined) return;
  context.progress.note(
    `The lab '${context.name}' is up too: what runs in it takes CPU from what is measured.`,
  );
}
