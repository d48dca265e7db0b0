// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import { LabError } from '../lab/errors.ts';
import type { JoinedTask } from '../lab/remote/join.ts';
import { isOver, RemoteVm } from '../lab/remote/remote-vm.ts';
import { abortable } from '../lab/vm/abortable.ts';
import type { ReadyVm } from './shard.ts';
import type { LabVm } from './xfstests.ts';

type Waiting = PromiseWithResolvers<JoinedTask>;

/**
 * VMs of tasks elsewhere, as the shards of a run: the first task that joins is the first shard's. One that joins when every shard
 * has its own is a spare. A shard whose VM is lost gets another on the same machine, or where that fails a spare, or waits for the
 * next task.
 */
export class RemoteShards implements AsyncDisposable {
  /** One for each shard, which may start as soon as it is there. */
  readonly vms: readonly Promise<LabVm>[];
  readonly #directory: string;
  readonly #note: (line: string) => void;
  /** Shards without a VM, in the order in which they get one. */
  readonly #waiting: Waiting[] = [];
  readonly #spare = new Set<JoinedTask>();
  readonly #open: RemoteVm[] = [];
  /** Those that shards have. */
  readonly #used = new Set<RemoteVm>();
  #seconds: number | undefined;
  #late: NodeJS.Timeout | undefined;
  /** Why no more tasks come. */
  #over: Error | undefined;

  /** `directory`: where the consoles of the VMs are kept. `note` takes a line on what went wrong and was made good. */
  constructor(shards: number, directory: string, note: (line: string) => void = () => undefined) {
    this.#directory = directory;
    this.#note = note;
    this.vms = Array.from({ length: shards }, async () => this.#shardVm(await this.#next()));
    // Nobody may be waiting for one at the moment in which it is given up.
    for (const vm of this.vms) vm.catch(() => undefined);
  }

  /** Tasks that no shard has. */
  get spares(): number {
    return this.#spare.size;
  }

  join(task: JoinedTask): void {
    const shard = this.#waiting.shift();
    if (shard === undefined) {
      this.#spare.add(task);
      task.session.once('close', () => this.#spare.delete(task));
    } else shard.resolve(task);
    this.#watchTime();
  }

  /** From now on the run is given up when for so long no shard has a VM, and none comes. */
  limit(seconds: number): void {
    this.#seconds = seconds;
    this.#watchTime();
  }

  /** No more tasks will come: shards that have none are without a VM. */
  giveUp(reason: Error): void {
    this.#over = reason;
    for (const shard of this.#waiting.splice(0)) shard.reject(reason);
    this.#watchTime();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.giveUp(new LabError('The run has ended.'));
    for (const { session } of this.#spare) session.destroy();
    for (const vm of this.#open) await vm[Symbol.asyncDispose]();
  }

  #shardVm(first: JoinedTask): LabVm {
    const { bootSeconds, devices, guest, machine } = first.hello;
    let task = first;
    let vm = this.#remoteVm(task);
    return {
      vm,
      state: machine,
      guest,
      devices,
      bootSeconds,
      node: () => `${task.hello.node} (${task.hello.machine.accelerator.toUpperCase()})`,
      revive: async (signal): Promise<ReadyVm> => {
        if (await this.#revived(vm, task, signal)) return { vm, devices: task.hello.devices };
        task = await this.#next(signal);
        vm = this.#remoteVm(task);
        return { vm, devices: task.hello.devices };
      },
      release: () => this.#release(vm),
    };
  }

  /** Whether its machine could boot another VM. When not, its task is let go. */
  async #revived(vm: RemoteVm, { hello }: JoinedTask, signal: AbortSignal): Promise<boolean> {
    try {
      await abortable(vm.revive(), signal);
      return true;
    } catch (error) {
      this.#release(vm);
      signal.throwIfAborted();
      const why = error instanceof Error ? error.message : String(error);
      this.#note(`${hello.node} is not used any more: ${why}`);
      return false;
    }
  }

  /** A spare, or the next task that joins. */
  async #next(signal?: AbortSignal): Promise<JoinedTask> {
    for (const spare of this.#spare) {
      this.#spare.delete(spare);
      if (!isOver(spare.session)) return spare;
    }
    if (this.#over !== undefined) throw this.#over;
    const shard: Waiting = Promise.withResolvers();
    this.#waiting.push(shard);
    this.#watchTime();
    try {
      return await abortable(shard.promise, signal, (late) => this.join(late));
    } finally {
      const at = this.#waiting.indexOf(shard);
      if (at !== -1) this.#waiting.splice(at, 1);
      this.#watchTime();
    }
  }

  #watchTime(): void {
    const hopeless = this.#waiting.length > 0 && this.#used.size === 0;
    const seconds = this.#seconds;
    if (!hopeless || seconds === undefined) {
      clearTimeout(this.#late);
      this.#late = undefined;
      return;
    }
    this.#late ??= setTimeout(() => {
      this.giveUp(new LabError(`No task joined the run within ${seconds} s.`));
    }, seconds * 1000);
  }

  #remoteVm({ hello, session }: JoinedTask): RemoteVm {
    const { task, node } = hello;
    // A task that Swarm starts again may bear its name again.
    const consoleLog = join(this.#directory, `console-${this.#open.length + 1}-${task}.log`);
    const vm = new RemoteVm({ name: task, node, session, consoleLog });
    this.#open.push(vm);
    this.#used.add(vm);
    this.#watchTime();
    return vm;
  }

  /** Its task ends by itself when nobody uses it. */
  #release(vm: RemoteVm): void {
    this.#used.delete(vm);
    vm.close();
    this.#watchTime();
  }
}
