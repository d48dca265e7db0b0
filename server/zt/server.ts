// SPDX-License-Identifier: BSD-3-Clause

/** The main thread of the server: starts the others, ends them, and knows what is mounted. */

import { constants, existsSync, readFileSync } from 'node:fs';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { FileSystem, ServerFacts } from '../fs/filesystem.ts';
import type { Addon } from '../native/addon.ts';
import { loadAddon } from '../native/load.ts';
import { letThreadsCollectGarbage } from './collect-garbage.ts';
import type { Log, LogLevel } from './log.ts';
import type { MountDescriptor } from './mount-table.ts';
import { MountRegistry } from './registry.ts';
import { type OperationTotals, readStatistics, STATISTICS_BYTES } from './statistics.ts';
import { type CommonData, Control, type ThreadData, type ThreadMessage } from './threads.ts';
import { type NumaMap, ZufFile } from './zuf-root.ts';

/** What stands in the way of starting, in one sentence for the user. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

export interface ServerOptions {
  /** The program of the threads. */
  readonly entry: URL;
  readonly addon: string;
  readonly root: string;
  /** Names of the types. */
  readonly fileSystems: readonly string[];
  readonly load: (names: readonly string[]) => Promise<readonly FileSystem[]>;
  /** ZTs a CPU. */
  readonly channels: number;
  /** False: no type is announced as one whose extents the kernel may keep. */
  readonly extentCache: boolean;
  readonly logLevel: LogLevel;
  readonly log: Log;
}

export interface MountSummary {
  readonly slot: number;
  readonly fileSystem: string;
  readonly bytes: number;
}

export interface ServerStatus {
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly fileSystems: readonly string[];
  readonly mounts: readonly MountSummary[];
  readonly threads: { readonly wanted: number; readonly serving: number };
  readonly stopping: boolean;
}

/** How often threads are told to leave. One in an ioctl cannot be ended from outside but by BREAK_ALL. */
const BREAK_MILLISECONDS = 100;
/** It takes them milliseconds; after this long something is wrong, on an emulated and busy machine too. */
const LEAVE_MILLISECONDS = 10_000;
const TICK_MILLISECONDS = 1000;

export class Server {
  readonly #options: ServerOptions;
  readonly #addon: Addon;
  readonly #control = new Control();
  readonly #registry = new MountRegistry();
  readonly #facts: ServerFacts;
  readonly #map: NumaMap;
  readonly #file: ZufFile;
  readonly #workers = new Set<Worker>();
  /** Those of them that have not said yet that they are there. */
  readonly #starting = new Set<Worker>();
  readonly #names = new WeakMap<Worker, string>();
  readonly #mounts = new Map<number, MountDescriptor>();
  /** Types of which something has been mounted, for their ticks. */
  readonly #loaded = new Map<string, FileSystem | null>();
  readonly #ztCount: number;
  /** ZTs that ended before the server did, and those that were started again, with the way to tell them of mounts. */
  readonly #absent = new Set<number>();
  readonly #lateZts = new Map<number, MessagePort>();
  readonly #started = Date.now();
  #registered = false;
  #stopping = false;
  #failed = false;
  #hung = false;
  readonly #done = Promise.withResolvers<number>();

  private constructor(options: ServerOptions, addon: Addon, file: ZufFile) {
    this.#options = options;
    this.#addon = addon;
    this.#file = file;
    this.#map = file.numaMap();
    const zts = this.#map.cpuNodes.flatMap((node, cpu) =>
      Array.from({ length: options.channels }, (_, channel) => ({ cpu, node, channel })),
    );
    this.#ztCount = zts.length;
    // CPUs that may come later get their threads then.
    zts.forEach(({ cpu }, zt) => {
      if (!this.#map.cpus.includes(cpu)) this.#absent.add(zt);
    });
    this.#facts = { zts, statistics: new SharedArrayBuffer(zts.length * STATISTICS_BYTES) };
  }

  /** Resolves when types are registered, and may be mounted. Throws `StartError`. */
  static async start(options: ServerOptions): Promise<Server> {
    const addon = loadAddon(options.addon);
    letThreadsCollectGarbage();
    const server = new Server(options, addon, openRoot(addon, options.root));
    try {
      await server.#startThreads();
    } catch (error) {
      await server.#abandon();
      throw error;
    }
    return server;
  }

  async #abandon(): Promise<void> {
    this.#failed = true;
    if (this.#registered) {
      this.#leave();
      await this.#done.promise;
    }
    // Before that nobody sleeps in the kernel, and BREAK_ALL would hit the server that runs already.
    else this.#control.leave();
  }

  async #startThreads(): Promise<void> {
    const present = Array.from({ length: this.#ztCount }, (_, zt) => zt).filter(
      (zt) => !this.#absent.has(zt),
    );
    const ports = present.map((zt) => ({ zt, ...channel() }));
    const zts = ports.map(({ port1 }) => port1);
    const { cpuNodes } = this.#map;
    const { extentCache } = this.#options;
    // The mount thread first: what it cannot do nobody has to be loaded for.
    await this.#startThread('mount', { ...this.#common, role: 'mount', cpuNodes, extentCache, zts }, zts);
    this.#registered = true;
    // Whoever mounts first waits for them, not whoever starts the server.
    const threads = ports.map(({ zt, port2 }) => this.#startZt(zt, port2));
    Promise.all(threads).catch((error) => {
      if (this.#control.leaving) return;
      this.#options.log('error', `cannot serve: ${error instanceof Error ? error.message : String(error)}`);
      this.#failed = true;
      this.#leave();
    });
    const timer = setInterval(() => this.#tick(), TICK_MILLISECONDS);
    void this.#done.promise.then(() => clearInterval(timer));
  }

  #startZt(zt: number, mounts: MessagePort): Promise<void> {
    const { cpu, channel } = this.#facts.zts[zt];
    const node = this.#map.cpuNodes[cpu];
    const data: ThreadData = { ...this.#common, role: 'zt', zt, cpu, node, channel, mounts };
    return this.#startThread(`zt${cpu}.${channel}`, data, [mounts]);
  }

  get #common(): CommonData {
    return {
      entry: this.#options.entry.href,
      addon: this.#options.addon,
      root: this.#options.root,
      fileSystems: this.#options.fileSystems,
      logLevel: this.#options.logLevel,
      control: this.#control.buffer,
      registry: this.#registry.buffer,
      server: this.#facts,
    };
  }

  /** A CPU that went offline took its ZTs along; other CPUs serve for it until it is back. */
  #restartZts(): void {
    if (this.#control.leaving) return;
    for (const zt of this.#absent) {
      const { cpu, channel } = this.#facts.zts[zt];
      if (!isOnline(cpu)) continue;
      this.#absent.delete(zt);
      // The mount thread does not know of this one: it hears of mounts from here.
      const { port1, port2 } = new MessageChannel();
      for (const descriptor of this.#mounts.values()) port1.postMessage(descriptor);
      this.#lateZts.set(zt, port1);
      this.#options.log('info', 'starting a thread again', { cpu, channel });
      this.#startZt(zt, port2).catch(() => this.#absent.add(zt));
    }
  }

  #tick(): void {
    this.#restartZts();
    for (const { slot, generation, fileSystem: name, memory, shared } of this.#mounts.values()) {
      const fileSystem = this.#loaded.get(name);
      if (fileSystem?.tick === undefined || !this.#registry.claim(slot, generation)) continue;
      try {
        fileSystem.tick({ addon: this.#addon, memory, shared, server: this.#facts });
      } catch (error) {
        this.#options.log('error', error instanceof Error ? (error.stack ?? error.message) : String(error), {
          fs: name,
        });
      } finally {
        this.#registry.release(slot);
      }
    }
  }

  /** Resolves when the thread has told that it is registered or loaded. */
  #startThread(name: string, data: ThreadData, transferList: MessagePort[]): Promise<void> {
    const worker = new Worker(this.#options.entry, {
      name,
      workerData: data,
      transferList,
      // A ZT's heap stays small, so that a collection, should one come, is short.
      ...(data.role === 'zt'
        ? { resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 256 } }
        : {}),
    });
    this.#workers.add(worker);
    this.#starting.add(worker);
    this.#names.set(worker, name);
    const asked = performance.now();
    const started = Promise.withResolvers<void>();
    worker.on('message', (message: ThreadMessage) => {
      if (message.kind === 'loaded' || message.kind === 'registered') {
        this.#starting.delete(worker);
        const milliseconds = Math.round(performance.now() - asked);
        this.#options.log('debug', 'thread is there', { thread: name, milliseconds });
        started.resolve();
      } else if (message.kind === 'cannot-start') started.reject(new StartError(message.reason));
      else if (message.kind === 'left') this.#threadEnded(worker, name, data, true);
      else this.#mountsChanged(message);
    });
    worker.on('error', (error) => {
      this.#options.log('error', error instanceof Error ? (error.stack ?? error.message) : String(error), {
        thread: name,
      });
      started.reject(new StartError(`the thread ${name} failed`));
    });
    worker.on('exit', () => {
      started.reject(new StartError(`the thread ${name} ended`));
      this.#threadEnded(worker, name, data, false);
    });
    return started.promise;
  }

  #mountsChanged(message: Extract<ThreadMessage, { kind: 'mounted' | 'unmounted' }>): void {
    if (message.kind === 'mounted') {
      this.#mounts.set(message.mount.slot, message.mount);
      void this.#loadType(message.mount.fileSystem);
      for (const port of this.#lateZts.values()) port.postMessage(message.mount);
    } else this.#mounts.delete(message.slot);
    if (this.#stopping && this.#mounts.size === 0) this.#leave();
  }

  async #loadType(name: string): Promise<void> {
    if (this.#loaded.has(name)) return;
    this.#loaded.set(name, null);
    const [fileSystem] = await this.#options.load([name]);
    this.#loaded.set(name, fileSystem);
  }

  /** `inOrder`: it says that it has left; some time later it is gone. */
  #threadEnded(worker: Worker, name: string, data: ThreadData, inOrder: boolean): void {
    if (!this.#workers.delete(worker)) return;
    this.#starting.delete(worker);
    if (this.#control.leaving) {
      if (this.#workers.size === 0) this.#finish();
      return;
    }
    if (!inOrder) this.#failed = true;
    this.#options.log(inOrder ? 'warn' : 'error', 'thread ended', { thread: name });
    // Others serve in the place of a ZT; without the mount thread the types are gone.
    if (data.role === 'zt') {
      this.#absent.add(data.zt);
      return;
    }
    this.#failed = true;
    this.#leave();
  }

  /** After the word that it is ready: threads make themselves ready for a mount. */
  warmUp(): void {
    this.#control.warmUp();
  }

  /** Exit code: 0 stopped in order, 1 something failed or was left mounted. */
  get done(): Promise<number> {
    return this.#done.promise;
  }

  /** Threads did not leave: the process will not end by itself. */
  get hung(): boolean {
    return this.#hung;
  }

  /**
   * First call: refuse new mounts and leave when the last one is gone. Second call: leave now; what is still mounted
   * then answers EIO until it is unmounted.
   */
  stop(): void {
    if (this.#stopping) {
      this.#leave();
      return;
    }
    this.#stopping = true;
    this.#control.refuseMounts();
    if (this.#mounts.size === 0) this.#leave();
    else
      this.#options.log('info', 'stopping when the last file system is unmounted', {
        mounts: this.#mounts.size,
      });
  }

  #leave(): void {
    if (this.#control.leaving) return;
    if (this.#mounts.size > 0) {
      this.#failed = true;
      this.#options.log('warn', 'leaving while file systems are mounted', { mounts: this.#mounts.size });
    }
    this.#control.leave();
    if (this.#workers.size === 0) {
      this.#finish();
      return;
    }
    // Nobody waits for what is not in the kernel yet, and would leave as soon as it is loaded.
    for (const worker of this.#starting) void worker.terminate();
    // Again and again, since a thread that was just about to wait for the first time has not heard it.
    this.#file.breakAll();
    const repeat = setInterval(() => this.#file.breakAll(), BREAK_MILLISECONDS);
    const limit = setTimeout(() => {
      const threads = [...this.#workers].map((worker) => this.#names.get(worker)).join(' ');
      this.#options.log('error', 'threads do not leave', { threads });
      this.#failed = true;
      this.#hung = true;
      this.#finish();
    }, LEAVE_MILLISECONDS);
    void this.#done.promise.then(() => {
      clearInterval(repeat);
      clearTimeout(limit);
    });
  }

  #finish(): void {
    this.#done.resolve(this.#failed ? 1 : 0);
  }

  get status(): ServerStatus {
    return {
      pid: process.pid,
      uptimeSeconds: Math.round((Date.now() - this.#started) / 1000),
      fileSystems: this.#options.fileSystems,
      mounts: [...this.#mounts.values()].map(({ slot, fileSystem, memory }) => ({
        slot,
        fileSystem,
        bytes: memory.length,
      })),
      threads: { wanted: this.#ztCount - this.#absent.size, serving: this.#control.readyZts },
      stopping: this.#stopping,
    };
  }

  get statistics(): OperationTotals[] {
    return readStatistics(this.#facts.statistics);
  }

  get addon(): Addon {
    return this.#addon;
  }
}

function channel(): { readonly port1: MessagePort; readonly port2: MessagePort } {
  const { port1, port2 } = new MessageChannel();
  return { port1, port2 };
}

function openRoot(addon: Addon, root: string): ZufFile {
  try {
    // Held as long as the process lives. Two servers on one zuf-root would break each other's threads.
    if (!addon.tryLock(addon.open(root, constants.O_RDONLY | constants.O_DIRECTORY, 0))) {
      throw new StartError(`another server is running on ${root}`);
    }
    return new ZufFile(addon, root);
  } catch (error) {
    if (error instanceof StartError) throw error;
    const code = error instanceof Error && 'code' in error ? error.code : '';
    if (code === 'EACCES' || code === 'EPERM')
      throw new StartError(`cannot open ${root}: the server has to run as root`);
    throw new StartError(
      `cannot open a channel in ${root}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** True for a CPU without the file too: it is one that cannot go offline. */
function isOnline(cpu: number): boolean {
  if (!existsSync(`/sys/devices/system/cpu/cpu${cpu}`)) return false;
  try {
    return readFileSync(`/sys/devices/system/cpu/cpu${cpu}/online`, 'utf8').trim() !== '0';
  } catch {
    return true;
  }
}
