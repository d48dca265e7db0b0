// SPDX-License-Identifier: BSD-3-Clause

/** The mount thread: registers the types and serves mount, umount and remount, one at a time. */

import { parentPort } from 'node:worker_threads';
import { FLAG, IOCTL, zufs_ioc_hdr } from '../abi/layout.ts';
import { type FileSystem, type FsInfo, MountError } from '../fs/filesystem.ts';
import type { Addon } from '../native/addon.ts';
import { loadAddon } from '../native/load.ts';
import { HelperThreads } from './helpers.ts';
import { createLog, type Log } from './log.ts';
import { type GrabbedMemory, type MountDescriptor, MountTable } from './mount-table.ts';
import { MountRegistry } from './registry.ts';
import { Control, type MountData, type ThreadMessage } from './threads.ts';
import { isMountBreak, ZufError, ZufFile } from './zuf-root.ts';

/** More only wait for memory. */
const HELPERS_MAX = 8;
const EINTR = 4;
const EIO = 5;
const EBUSY = 16;
/** What threads may take to warm up and open their channels, under emulation on a busy machine. */
const ZT_START_MILLISECONDS = 120_000;

export async function mountWorker(
  data: MountData,
  load: (names: readonly string[]) => Promise<readonly FileSystem[]>,
): Promise<void> {
  const log = createLog({ level: data.logLevel, thread: 'mount' });
  const addon = loadAddon(data.addon);
  addon.setThreadName('zus-mount');
  addon.blockSignals();
  const fileSystems = await load(data.fileSystems);
  const file = new ZufFile(addon, data.root);
  try {
    fileSystems.forEach((fileSystem, index) => {
      register(file, announced(fileSystem.info, data.extentCache), index + 1);
    });
  } catch (error) {
    file.close();
    if (!(error instanceof CannotStartError)) throw error;
    send({ kind: 'cannot-start', reason: error.message });
    return;
  }
  send({ kind: 'registered' });
  try {
    new MountLoop(data, addon, fileSystems, file, log).run();
  } finally {
    file.close();
  }
  send({ kind: 'left' });
}

class CannotStartError extends Error {}

/** What the kernel is told of a type. Riders are the dispatcher's, whatever the type. */
function announced(info: FsInfo, extentCache: boolean): FsInfo {
  const cached = FLAG.ZUFS_FEATURE_EXTENT_CACHE | FLAG.ZUFS_FEATURE_ALLOC_AHEAD;
  const features = extentCache ? info.features : info.features & ~cached;
  return { ...info, features: features | FLAG.ZUFS_FEATURE_RIDERS };
}

function register(file: ZufFile, info: FsInfo, cookie: number): void {
  const { name } = info;
  try {
    file.registerFileSystem(info, cookie);
  } catch (error) {
    if (!(error instanceof ZufError)) throw error;
    throw new CannotStartError(
      error.errno === EBUSY
        ? `the type ${name} is registered already: another server is running`
        : `the kernel refuses the type ${name} (errno ${error.errno})`,
    );
  }
}

function send(message: ThreadMessage): void {
  parentPort?.postMessage(message);
}

class MountLoop {
  readonly #data: MountData;
  readonly #addon: Addon;
  readonly #file: ZufFile;
  readonly #log: Log;
  readonly #control: Control;
  readonly #table: MountTable;
  #started = false;

  constructor(data: MountData, addon: Addon, fileSystems: readonly FileSystem[], file: ZufFile, log: Log) {
    this.#data = data;
    this.#addon = addon;
    this.#file = file;
    this.#log = log;
    this.#control = new Control(data.control);
    this.#table = new MountTable({
      addon,
      fileSystems,
      registry: new MountRegistry(data.registry),
      cpuNodes: data.cpuNodes,
      server: data.server,
      log,
      grab: (sbId) => this.#grab(sbId),
      announce: (descriptor) => this.#announce(descriptor),
      withdrawn: (slot) => send({ kind: 'unmounted', slot }),
      helpers: (fileSystem) =>
        new HelperThreads({
          entry: new URL(data.entry),
          addon: data.addon,
          fileSystem,
          threads: Math.min(data.zts.length, HELPERS_MAX),
          logLevel: data.logLevel,
        }),
    });
  }

  run(): void {
    const page = new DataView(new ArrayBuffer(4096));
    const address = this.#addon.addressOf(page.buffer as ArrayBuffer);
    for (;;) {
      const result = this.#addon.ioctl(this.#file.fd, IOCTL.ZU_IOC_MOUNT, address);
      if (result === -EINTR) {
        // The answer is delivered; a second one would be taken for that of the next request.
        page.setInt32(zufs_ioc_hdr.err, 0, true);
        continue;
      }
      if (result < 0) {
        this.#log('error', 'MOUNT failed, no more mounts', { errno: -result });
        return;
      }
      if (isMountBreak(page)) return;
      if (this.#control.refusesMounts) this.#table.refuseMounts();
      this.#table.handle(page);
    }
  }

  #grab(sbId: number): GrabbedMemory {
    const file = new ZufFile(this.#addon, this.#data.root);
    try {
      // The mapping keeps what it needs of the file.
      return file.grabMemory(sbId);
    } catch (error) {
      if (error instanceof ZufError)
        throw new MountError(error.errno, `cannot get the memory of the mount: ${error.message}`);
      throw error;
    } finally {
      file.close();
    }
  }

  #announce(descriptor: MountDescriptor): void {
    if (!this.#started) this.#startZts();
    for (const zt of this.#data.zts) zt.postMessage(descriptor);
    send({ kind: 'mounted', mount: descriptor });
  }

  #startZts(): void {
    this.#control.startZts();
    const count = this.#data.zts.length;
    const serving = this.#control.waitForZts(count, ZT_START_MILLISECONDS);
    if (serving === 0) throw new MountError(EIO, 'no thread serves operations');
    if (serving < count) this.#log('warn', 'threads are missing', { serving, wanted: count });
    this.#started = true;
  }
}
