// SPDX-License-Identifier: BSD-3-Clause

/** Threads that help the mount thread with a mount that has much to read, and are gone afterwards. */

import { Worker } from 'node:worker_threads';
import { type FileSystem, type Helpers, MountError, type MountMemory } from '../fs/filesystem.ts';
import { loadAddon } from '../native/load.ts';
import { createLog, type LogLevel } from './log.ts';

const EIO = 5;
/** Below so many things to look at it takes longer to start a thread than to look. */
const WORTHWHILE = 500_000;
/** Something is wrong with a thread that takes longer. */
const LIMIT_MILLISECONDS = 3_600_000;

export interface HelpData {
  readonly role: 'help';
  readonly addon: string;
  readonly fileSystem: string;
  readonly logLevel: LogLevel;
  readonly memory: MountMemory;
  readonly shared: SharedArrayBuffer;
  readonly part: number;
  readonly parts: number;
  /** Words: threads that are done, threads that failed. */
  readonly done: SharedArrayBuffer;
}

export interface HelperOptions {
  /** The program, which starts as a thread when it has `workerData`. */
  readonly entry: URL;
  readonly addon: string;
  readonly fileSystem: string;
  readonly threads: number;
  readonly logLevel: LogLevel;
  /** Another number for WORTHWHILE. */
  readonly worthwhile?: number;
}

export class HelperThreads implements Helpers {
  readonly #options: HelperOptions;

  constructor(options: HelperOptions) {
    this.#options = options;
  }

  run(things: number, memory: MountMemory, shared: SharedArrayBuffer): boolean {
    const { entry, addon, fileSystem, threads: parts, logLevel, worthwhile = WORTHWHILE } = this.#options;
    if (parts < 2 || things < worthwhile) return false;
    const words = new Int32Array(new SharedArrayBuffer(8));
    for (let part = 0; part < parts; part++) {
      const workerData: HelpData = {
        role: 'help',
        addon,
        fileSystem,
        logLevel,
        memory,
        shared,
        part,
        parts,
        done: words.buffer as SharedArrayBuffer,
      };
      new Worker(entry, { name: `help${part}`, workerData }).unref();
    }
    const end = Date.now() + LIMIT_MILLISECONDS;
    // This thread's event loop stands still meanwhile: nothing of the others arrives but these words.
    for (let done = Atomics.load(words, 0); done < parts; done = Atomics.load(words, 0)) {
      if (Date.now() > end)
        throw new MountError(EIO, 'threads that help with the mount do not come to an end');
      Atomics.wait(words, 0, done, 1000);
    }
    if (words[1] > 0) throw new MountError(EIO, `${words[1]} threads that helped with the mount failed`);
    return true;
  }
}

export async function helpWorker(
  data: HelpData,
  load: (names: readonly string[]) => Promise<readonly FileSystem[]>,
): Promise<void> {
  const log = createLog({ level: data.logLevel, thread: `help${data.part}` });
  const words = new Int32Array(data.done);
  try {
    const addon = loadAddon(data.addon);
    addon.setThreadName(`zus-help${data.part}`);
    addon.blockSignals();
    const [fileSystem] = await load([data.fileSystem]);
    const { memory, shared, part, parts } = data;
    fileSystem.help?.({
      addon,
      memory,
      shared,
      part,
      parts,
      log: (level, message) => log(level, message, { fs: data.fileSystem }),
    });
  } catch (error) {
    log('error', error instanceof Error ? (error.stack ?? error.message) : String(error));
    Atomics.add(words, 1, 1);
  } finally {
    Atomics.add(words, 0, 1);
    Atomics.notify(words, 0);
  }
}
