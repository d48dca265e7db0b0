// SPDX-License-Identifier: BSD-3-Clause

/** A ZT: the thread that serves the operations of one CPU and channel. */

import { parentPort, receiveMessageOnPort } from 'node:worker_threads';
import type { FileSystem, MountedFileSystem } from '../fs/filesystem.ts';
import type { Addon } from '../native/addon.ts';
import { loadAddon } from '../native/load.ts';
import { Dispatcher } from './dispatch.ts';
import { KernelTransport } from './kernel-transport.ts';
import { createLog, type Log } from './log.ts';
import type { MountDescriptor } from './mount-table.ts';
import { MountRegistry } from './registry.ts';
import { OperationStatistics, STATISTICS_BYTES } from './statistics.ts';
import { Control, type ThreadMessage, type ZtData } from './threads.ts';
import { warmUp } from './warm-up.ts';
import { runZt } from './zt-loop.ts';

export async function ztWorker(
  data: ZtData,
  load: (names: readonly string[]) => Promise<readonly FileSystem[]>,
): Promise<void> {
  const log = createLog({ level: data.logLevel, thread: `zt${data.cpu}.${data.channel}` });
  const control = new Control(data.control);
  const addon = loadAddon(data.addon);
  addon.setThreadName(`zt${data.cpu}.${data.channel}`);
  addon.blockSignals();
  const fileSystems = await load(data.fileSystems);
  const { operations, milliseconds } = warmUp(addon, fileSystems);
  log('debug', 'warm', { operations, milliseconds });
  parentPort?.postMessage({ kind: 'warm' } satisfies ThreadMessage);

  control.waitForStart();
  if (!control.leaving) serve(data, addon, fileSystems, control, log);
  parentPort?.postMessage({ kind: 'left' } satisfies ThreadMessage);
}

function serve(
  data: ZtData,
  addon: Addon,
  fileSystems: readonly FileSystem[],
  control: Control,
  log: Log,
): void {
  let ready = false;
  try {
    addon.bindToCpu(data.cpu);
    // Memory that this thread needs must not be reclaimed through a file system that it serves.
    addon.setIoFlusher();
    using transport = new KernelTransport(addon, data.root, data.channel);
    const dispatcher = new Dispatcher({
      operation: transport.operation,
      registry: new MountRegistry(data.registry),
      statistics: new OperationStatistics(addon, data.server.statistics, data.zt * STATISTICS_BYTES),
      attach: new Mounts(data, addon, fileSystems).attach,
      report: (message) => log('error', message),
    });
    ready = true;
    control.ztReady();
    // BREAK_ALL comes after the word to leave: either this thread sees the word, or the break finds its channel.
    if (control.leaving) return;
    const result = runZt(transport, dispatcher);
    if (result === 0) log('debug', 'told to leave');
    else log('error', 'WAIT_OPT failed, this thread serves no more', { errno: -result });
  } finally {
    // Whoever waits for all threads to be ready waits for the failed ones too.
    if (!ready) control.ztReady();
    control.ztStopped();
  }
}

/** Mounts that this thread has been told of and not yet attached to. */
class Mounts {
  readonly #data: ZtData;
  readonly #addon: Addon;
  readonly #fileSystems: readonly FileSystem[];
  readonly #registry: MountRegistry;
  readonly #known = new Map<number, MountDescriptor>();

  constructor(data: ZtData, addon: Addon, fileSystems: readonly FileSystem[]) {
    this.#data = data;
    this.#addon = addon;
    this.#fileSystems = fileSystems;
    this.#registry = new MountRegistry(data.registry);
  }

  attach = (slot: number, generation: number): MountedFileSystem => {
    // The thread sleeps in the kernel, not in its event loop, so it fetches its messages itself.
    for (let message = receiveMessageOnPort(this.#data.mounts); message !== undefined; ) {
      const descriptor = message.message as MountDescriptor;
      this.#known.set(descriptor.slot, descriptor);
      message = receiveMessageOnPort(this.#data.mounts);
    }
    const descriptor = this.#known.get(slot);
    for (const known of this.#known.values()) {
      if (this.#registry.generation(known.slot) !== known.generation || known === descriptor) {
        this.#known.delete(known.slot);
      }
    }
    if (descriptor?.generation !== generation)
      throw new Error(`mount ${slot} was not announced to this thread`);
    const fileSystem = this.#fileSystems.find(({ info }) => info.name === descriptor.fileSystem);
    if (fileSystem === undefined) throw new Error(`this thread has no ${descriptor.fileSystem}`);
    const { memory, shared } = descriptor;
    const { cpu, node, channel, zt, server } = this.#data;
    return fileSystem.attach({ addon: this.#addon, memory, slot, shared, cpu, node, channel, zt, server });
  };
}
