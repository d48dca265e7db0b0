// SPDX-License-Identifier: BSD-3-Clause

import type { LabContext } from '../context.ts';
import { LabError } from '../errors.ts';
import { type BootedLab, crashVm, ensureMounted, ensureServedVm, ensureVm } from '../lifecycle.ts';
import type { BootArtefacts } from '../vm/boot.ts';
import type { GuestVm } from '../vm/guest.ts';
import { endLab } from '../vm/running.ts';
import type { VmState } from '../vm/state.ts';
import { hostCpu, pinVcpus, qemuVersion } from '../vm/vcpus.ts';
import type { ReviveRequest } from './messages.ts';
import type { RevivedVm } from './serve-vm.ts';
import type { Deployment } from './task-engine.ts';

/** The lab of a task, which ends with it: a VM, and another one whenever the run asks for it. */
export class TaskLab implements AsyncDisposable {
  /** With the settings of the task. */
  readonly #context: LabContext;
  /** With those of the VM that it has. */
  #current: LabContext;
  readonly #artefacts: BootArtefacts;
  readonly #deploy: Deployment;
  #vm: GuestVm | undefined;
  #state: VmState | undefined;

  constructor(context: LabContext, artefacts: BootArtefacts, deploy: Deployment) {
    this.#context = context;
    this.#current = context;
    this.#artefacts = artefacts;
    this.#deploy = deploy;
  }

  /** The first, and the seconds that it took. */
  async boot(): Promise<RevivedVm & { readonly bootSeconds: number }> {
    const from = performance.now();
    const booted = await this.#boot();
    return { ...booted, bootSeconds: (performance.now() - from) / 1000 };
  }

  /** Another VM in place of the last. */
  async revive({ keepPmem, machine }: ReviveRequest): Promise<RevivedVm> {
    if (keepPmem) return await this.#use(await crashVm(this.#current, this.#artefacts));
    await this.#end();
    const { config } = this.#context;
    this.#current = { ...this.#context, config: { ...config, vm: { ...config.vm, ...machine } } };
    return await this.#boot();
  }

  async bindVcpus(): Promise<string> {
    if (this.#state === undefined) throw new LabError('The task has no VM.');
    return await pinVcpus(this.#context.stateDir, this.#state);
  }

  async #boot(): Promise<RevivedVm> {
    const ensure = this.#deploy === 'server' ? ensureServedVm : ensureVm;
    const lab = await ensure(this.#current, this.#artefacts);
    if (this.#deploy === 'mounts') await ensureMounted(this.#current, lab);
    return await this.#use(lab);
  }

  async #use({ vm, state }: BootedLab): Promise<RevivedVm> {
    await this.#vm?.[Symbol.asyncDispose]();
    this.#vm = vm;
    this.#state = state;
    const { kernel, flavour, image, accelerator, cpus, testDevices: test, scratchDevices: scratch } = state;
    return {
      vm,
      machine: { kernel, flavour, image, accelerator, cpus },
      devices: { test, scratch },
      host: { ...hostCpu(), qemu: await qemuVersion(this.#context.stateDir) },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }

  async #end(): Promise<void> {
    await this.#vm?.[Symbol.asyncDispose]();
    this.#vm = undefined;
    this.#state = undefined;
    const { name, stateDir } = this.#context;
    await endLab(this.#context, name, stateDir, { keepLogs: true });
  }
}
