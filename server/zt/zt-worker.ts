// SPDX-License-Identifier: BSD-3-Clause

/** A ZT: the thread that serves the operations of one CPU and channel. */

import { parentPort, receiveMessageOnPort } from 'node:worker_threads';
import type { FileSystem, MountedFileSystem } from '../fs/filesystem.ts';
import type { Addon } from '../native/addon.ts';
import { loadAddon } from '../native/load.ts';
import { collectGarbage } from './collect-garbage.ts';
import { Dispatcher } from './dispatch.ts';
import { KernelTransport } from './kernel-transport.ts';
import { createLog, type Log } from './log.ts';
import type { MountDescriptor } from './mount-table.ts';
import { MountRegistry } from './registry.ts';
import { OperationStatistics, STATISTICS_BYTES } from './statistics.ts';
import { Control, type ThreadMessage, type ZtData } from './threads.ts';
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
  // What it allocates from here on is memory of its CPU's node.
  bind(addon, data.cpu);
  const fileSystems = await load(data.fileSystems);
  parentPort?.postMessage({ kind: 'loaded' } satisfies ThreadMessage);
  control.waitForWarmUp();
  if (!control.leaving) await warm(addon, fileSystems, log);
  control.waitForStart();
  if (!control.leaving) serve(data, addon, fileSystems, control, log);
  parentPort?.postMessage({ kind: 'left' } satisfies ThreadMessage);
}

/** Whoever mounts first waits for this, not whoever starts the server. */
async function warm(addon: Addon, fileSystems: readonly FileSystem[], log: Log): Promise<void> {
  const { warmUp } = await import('./warm-up.ts');
  const { operations, milliseconds } = warmUp(addon, fileSystems);
  collectGarbage();
  log('debug', 'warm', { operations, milliseconds });
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
    // Its CPU may have gone and come back since, and with it what the thread was bound to.
    if (!bind(addon, data.cpu)) {
      log('warn', 'its CPU is offline');
      return;
    }
    // Memory that this thread needs must not be reclaimed through a file system that it serves.
    addon.setIoFlusher();
    using transport = new KernelTransport(addon, data.root, data.channel);
    const dispatcher = new Dispatcher({
      operation: transport.operation,
      registry: new MountRegistry(data.registry),
      statistics: new OperationStatistics(addon, data.server.statistics, data.zt * STATISTICS_BYTES),
      attach: new Mounts(data, addon, fileSystems, log).attach,
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

function bind(addon: Addon, cpu: number): boolean {
  try {
    addon.bindToCpu(cpu);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EINVAL') return false;
    throw error;
  }
}

/** What the word of a mount may take from the main thread to one that was started again. */
const ANNOUNCEMENT_MILLISECONDS = 2000;

/** Mounts that this thread has been told of and not yet attached to. */
class Mounts {
  readonly #data: ZtData;
  readonly #addon: Addon;
  readonly #fileSystems: readonly FileSystem[];
  readonly #log: Log;
  readonly #registry: MountRegistry;
  readonly #known = new Map<number, MountDescriptor>();
  readonly #pause = new Int32Array(new SharedArrayBuffer(4));

  constructor(data: ZtData, addon: Addon, fileSystems: readonly FileSystem[], log: Log) {
    this.#log = log;
    this.#data = data;
    this.#addon = addon;
    this.#fileSystems = fileSystems;
    this.#registry = new MountRegistry(data.registry);
  }

  attach = (slot: number, generation: number): MountedFileSystem => {
    const end = Date.now() + ANNOUNCEMENT_MILLISECONDS;
    let descriptor = this.#fetch(slot);
    // A thread of the first hour has the message already; one that was started again hears of it a little later.
    while (descriptor?.generation !== generation && Date.now() < end) {
      Atomics.wait(this.#pause, 0, 0, 1);
      descriptor = this.#fetch(slot);
    }
    if (descriptor?.generation !== generation)
      throw new Error(`mount ${slot} was not announced to this thread`);
    for (const known of this.#known.values()) {
      if (this.#registry.generation(known.slot) !== known.generation || known === descriptor) {
        this.#known.delete(known.slot);
      }
    }
    const fileSystem = this.#fileSystems.find(({ info }) => info.name === descriptor.fileSystem);
    if (fileSystem === undefined) throw new Error(`this thread has no ${descriptor.fileSystem}`);
    const { memory, shared } = descriptor;
    const { cpu, node, channel, zt, server } = this.#data;
    return fileSystem.attach({
      addon: this.#addon,
      memory,
      slot,
      shared,
      cpu,
      node,
      channel,
      zt,
      server,
      log: (level, message) => this.#log(level, message, { fs: fileSystem.info.name }),
    });
  };

  /** The thread sleeps in the kernel, not in its event loop, so it fetches its messages itself. */
  #fetch(slot: number): MountDescriptor | undefined {
    let message = receiveMessageOnPort(this.#data.mounts);
    for (; message !== undefined; message = receiveMessageOnPort(this.#data.mounts)) {
      const descriptor = message.message as MountDescriptor;
      this.#known.set(descriptor.slot, descriptor);
    }
    return this.#known.get(slot);
  }
}
