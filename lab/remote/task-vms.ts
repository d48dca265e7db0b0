// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type { LabContext } from '../context.ts';
import { LabError } from '../errors.ts';
import { abortable } from '../vm/abortable.ts';
import type { Vm } from '../vm/vm.ts';
import type { Hello } from './hello.ts';
import type { JoinedTask } from './join.ts';
import type { Booted, ReviveRequest } from './messages.ts';
import { isOver, RemoteVm } from './remote-vm.ts';

type Waiting = PromiseWithResolvers<JoinedTask>;

/** A VM that a part of a run can use. */
export interface ReadyTaskVm extends Booted {
  readonly vm: Vm;
}

/** A VM of a task, as the part of a run sees it that it was given to: a shard. */
export interface TaskVm extends ReadyTaskVm {
  /** What it was made of, by the name that labs of this machine have it under. */
  readonly state: Booted['machine'];
  readonly guest: Hello['guest'];
  /** Seconds that it took to come up. */
  readonly bootSeconds: number;
  /** Where the VM is that it has now. */
  node(): string;
  /** Another in place of one that was lost. One that it would only be waiting for is not wanted any more once `signal` aborts. */
  revive(signal: AbortSignal): Promise<ReadyTaskVm>;
  /** Have its own task boot another VM in its place. When that can not do it, or is gone, the VM is lost. */
  again(how: ReviveRequest, signal: AbortSignal): Promise<ReadyTaskVm>;
  /** Give each vCPU a CPU of its machine to itself; what was done, or why not, in words. */
  bindVcpus(): Promise<string>;
  /** The shard is through with it. */
  release(): void;
}

/**
 * VMs of tasks elsewhere, for the shards of a run: the first task that joins is the first shard's. One that joins when every shard
 * has its own is a spare. A shard whose VM is lost gets another on the same machine, or where that fails a spare, or waits for the
 * next task.
 */
export class TaskVms implements AsyncDisposable {
  /** One for each shard, which may start as soon as it is there. */
  readonly all: readonly Promise<TaskVm>[];
  readonly #directory: string;
  readonly #note: (line: string) => void;
  /** Shards without a VM, in the order in which they get one. */
  readonly #waiting: Waiting[] = [];
  readonly #spare = new Set<JoinedTask>();
  /** All whose connections stand. */
  readonly #joined = new Set<JoinedTask>();
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
    this.all = Array.from({ length: shards }, async () => this.#shardVm(await this.#next()));
    // Nobody may be waiting for one at the moment in which it is given up.
    for (const vm of this.all) vm.catch(() => undefined);
  }

  /** The first that is there. */
  async first(context: LabContext): Promise<TaskVm> {
    return await context.step('Tasks', (step) => abortable(this.all[0], step.signal));
  }

  /** Tasks that no shard has. */
  get spares(): number {
    return this.#spare.size;
  }

  join(task: JoinedTask): void {
    this.#joined.add(task);
    task.session.once('close', () => this.#joined.delete(task));
    const shard = this.#waiting.shift();
    if (shard === undefined) {
      this.#spare.add(task);
      task.session.once('close', () => this.#spare.delete(task));
    } else shard.resolve(task);
    this.#watchTime();
  }

  /** A machine is known to be gone: nothing that was asked of its VMs is waited for any longer. */
  loseNode(node: string): void {
    for (const { hello, session } of this.#joined) if (hello.node === node) session.destroy();
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

  #shardVm(first: JoinedTask): TaskVm {
    const { bootSeconds, devices, guest, host, machine } = first.hello;
    let task = first;
    let vm = this.#remoteVm(task);
    return {
      vm,
      state: machine,
      machine,
      host,
      guest,
      devices,
      bootSeconds,
      node: () => `${task.hello.node} (${task.hello.machine.accelerator.toUpperCase()})`,
      revive: async (signal): Promise<ReadyTaskVm> => {
        const again = await this.#revived(vm, task, signal);
        if (again !== undefined) return { vm, ...again };
        task = await this.#next(signal);
        vm = this.#remoteVm(task);
        const { devices, host, machine } = task.hello;
        return { vm, devices, host, machine };
      },
      again: async (how, signal) => ({
        vm,
        ...(await this.#letGoUnless(vm, task, abortable(vm.revive(how), signal))),
      }),
      bindVcpus: () => vm.bindVcpus(),
      release: () => this.#release(vm),
    };
  }

  /** Another VM on its machine; undefined when that cannot boot one. */
  async #revived(vm: RemoteVm, task: JoinedTask, signal: AbortSignal): Promise<Booted | undefined> {
    try {
      return await this.#letGoUnless(vm, task, abortable(vm.revive(), signal));
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
  }

  /** A task that cannot boot another VM is let go. */
  async #letGoUnless(vm: RemoteVm, { hello }: JoinedTask, booted: Promise<Booted>): Promise<Booted> {
    try {
      return await booted;
    } catch (error) {
      this.#release(vm);
      const why = error instanceof Error ? error.message : String(error);
      this.#note(`${hello.node} is not used any more: ${why}`);
      throw error;
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
