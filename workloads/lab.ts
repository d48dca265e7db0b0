// SPDX-License-Identifier: BSD-3-Clause

import type { LabContext } from '../lab/context.ts';
import { type FileSystemPlan, plannedFileSystems } from '../lab/deploy/filesystem.ts';
import { deployedServer } from '../lab/deploy/server.ts';
import { type BootedLab, crashVm, ensureMounted, ensureVm } from '../lab/lifecycle.ts';
import type { ReadyTaskVm, TaskVm } from '../lab/remote/task-vms.ts';
import type { Provenance } from '../lab/test-run/verdict.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import type { GuestVm } from '../lab/vm/guest.ts';
import { distrustVm } from '../lab/vm/state.ts';
import type { Vm } from '../lab/vm/vm.ts';

/** A VM with the file system that workloads run on. */
export interface WorkloadVm {
  readonly vm: Vm;
  readonly plan: FileSystemPlan;
}

/** Where workloads run, one after the other. */
export interface WorkloadLab {
  /** What its VMs are, as far as only they can tell. */
  facts(): Pick<Provenance, 'server' | 'accelerator' | 'cpus'>;
  /** The machine; left out for this one. */
  node?(): string;
  /** A VM that is up, with the file system mounted: another one after `distrust`. Not wanted any more once `signal` aborts. */
  ready(context: LabContext, signal: AbortSignal): Promise<WorkloadVm>;
  /** Kill the VM, as a loss of power would, and boot another over the same memory: ready for what is there to be mounted. */
  crash(context: LabContext): Promise<WorkloadVm>;
  /** Whatever comes next gets another VM; until then this one stays to be looked at. */
  distrust(context: LabContext, reason: string): Promise<void>;
  /** Nobody needs its VM any more. */
  release(): Promise<void>;
}

/** The lab of the context, on this machine. Its VM is booted when one is needed, and stays. */
export class LocalLab implements WorkloadLab {
  readonly #artefacts: BootArtefacts;
  #vm: GuestVm | undefined;
  #ready: WorkloadVm | undefined;
  #facts = { server: '', accelerator: '', cpus: 0 };

  constructor(artefacts: BootArtefacts) {
    this.#artefacts = artefacts;
  }

  facts(): Pick<Provenance, 'server' | 'accelerator' | 'cpus'> {
    return this.#facts;
  }

  async ready(context: LabContext): Promise<WorkloadVm> {
    if (this.#ready !== undefined) return this.#ready;
    const lab = await ensureVm(context, this.#artefacts);
    await ensureMounted(context, lab);
    return await this.#use(context, lab);
  }

  async crash(context: LabContext): Promise<WorkloadVm> {
    const lab = await crashVm(context, this.#artefacts);
    await this.release();
    return await this.#use(context, lab);
  }

  async distrust(context: LabContext, reason: string): Promise<void> {
    await distrustVm(context, reason);
    await this.release();
  }

  async release(): Promise<void> {
    await this.#vm?.[Symbol.asyncDispose]();
    this.#vm = undefined;
    this.#ready = undefined;
  }

  async #use(context: LabContext, { vm, state }: BootedLab): Promise<WorkloadVm> {
    this.#vm = vm;
    const { accelerator, cpus } = state;
    const server = this.#facts.server || (await deployedServer(vm, context.signal));
    this.#facts = { server, accelerator, cpus };
    this.#ready = { vm, plan: plannedFileSystems(context, state)[0] };
    return this.#ready;
  }
}

/** A task elsewhere, which has mounted the settings' file systems. */
export class RemoteLab implements WorkloadLab {
  readonly #task: TaskVm;
  #vm: ReadyTaskVm;
  #trusted = true;

  constructor(task: TaskVm) {
    this.#task = task;
    this.#vm = task;
  }

  facts(): Pick<Provenance, 'server' | 'accelerator' | 'cpus'> {
    const { accelerator, cpus } = this.#task.state;
    return { server: this.#task.guest.server, accelerator, cpus };
  }

  node(): string {
    return this.#task.node();
  }

  async ready(context: LabContext, signal: AbortSignal): Promise<WorkloadVm> {
    if (!this.#trusted) this.#vm = await this.#task.revive(signal);
    this.#trusted = true;
    return this.#used(context);
  }

  async crash(context: LabContext): Promise<WorkloadVm> {
    this.#vm = await this.#task.again({ keepPmem: true }, context.signal);
    return this.#used(context);
  }

  async distrust(): Promise<void> {
    this.#trusted = false;
  }

  async release(): Promise<void> {
    this.#task.release();
  }

  #used(context: LabContext): WorkloadVm {
    const { vm, devices } = this.#vm;
    const { name } = context;
    const state = { name, testDevices: devices.test, scratchDevices: devices.scratch };
    return { vm, plan: plannedFileSystems(context, state)[0] };
  }
}
