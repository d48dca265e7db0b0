// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type { JoinedTask } from '../lab/remote/join.ts';
import { NodeLostError, RemoteVm } from '../lab/remote/remote-vm.ts';
import type { Vm } from '../lab/vm/vm.ts';
import type { LabVm } from './xfstests.ts';

/**
 * VMs of tasks elsewhere, as the shards of a run: the first task that joins is the first shard's. One that joins when every shard
 * has its own takes the place of a lost one.
 */
export class RemoteShards implements AsyncDisposable {
  /** One for each shard, which may start as soon as it is there. */
  readonly vms: readonly Promise<LabVm>[];
  readonly #directory: string;
  readonly #waiting: PromiseWithResolvers<LabVm>[];
  readonly #spare: JoinedTask[] = [];
  readonly #open: RemoteVm[] = [];

  /** `directory`: where the consoles of the VMs are kept. */
  constructor(shards: number, directory: string) {
    this.#directory = directory;
    this.#waiting = Array.from({ length: shards }, () => Promise.withResolvers<LabVm>());
    this.vms = this.#waiting.map(({ promise }) => promise);
    // Nobody may be waiting for one at the moment in which it is given up.
    for (const vm of this.vms) vm.catch(() => undefined);
  }

  join(task: JoinedTask): void {
    const shard = this.#waiting.shift();
    if (shard === undefined) this.#spare.push(task);
    else shard.resolve(this.#shardVm(task));
  }

  /** No more tasks will come: shards that have none are without a VM. */
  giveUp(reason: Error): void {
    for (const shard of this.#waiting.splice(0)) shard.reject(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { session } of this.#spare) session.destroy();
    for (const vm of this.#open) await vm[Symbol.asyncDispose]();
  }

  #shardVm(first: JoinedTask): LabVm {
    const { devices, bootSeconds } = first.hello;
    let task = first;
    let vm = this.#remoteVm(task);
    return {
      vm,
      state: first.hello.machine,
      devices,
      bootSeconds,
      node: () => `${task.hello.node} (${task.hello.machine.accelerator.toUpperCase()})`,
      revive: async (): Promise<Vm> => {
        try {
          return await vm.revive();
        } catch (error) {
          if (!(error instanceof NodeLostError)) throw error;
          const spare = this.#spare.shift();
          if (spare === undefined) throw error;
          task = spare;
          vm = this.#remoteVm(task);
          return vm;
        }
      },
    };
  }

  #remoteVm({ hello, session }: JoinedTask): RemoteVm {
    const { task, node } = hello;
    // A task that Swarm starts again may bear its name again.
    const consoleLog = join(this.#directory, `console-${this.#open.length + 1}-${task}.log`);
    const vm = new RemoteVm({ name: task, node, session, consoleLog });
    this.#open.push(vm);
    return vm;
  }
}
