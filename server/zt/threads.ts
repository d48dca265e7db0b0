// SPDX-License-Identifier: BSD-3-Clause

/** What the threads of the server tell each other: at creation, by message, and through one shared array. */

import type { MessagePort } from 'node:worker_threads';
import type { ServerFacts } from '../fs/filesystem.ts';
import type { HelpData } from './helpers.ts';
import type { LogLevel } from './log.ts';
import type { MountDescriptor } from './mount-table.ts';

export interface CommonData {
  /** URL of the program, for threads that start others. */
  readonly entry: string;
  /** Absolute path of the compiled addon. */
  readonly addon: string;
  /** Where zuf-root is mounted. */
  readonly root: string;
  readonly fileSystems: readonly string[];
  readonly logLevel: LogLevel;
  /** See `Control`. */
  readonly control: SharedArrayBuffer;
  /** See `MountRegistry`. */
  readonly registry: SharedArrayBuffer;
  readonly server: ServerFacts;
}

export interface ZtData extends CommonData {
  readonly role: 'zt';
  /** Number of the ZT, 0 .. count-1. */
  readonly zt: number;
  readonly cpu: number;
  readonly node: number;
  readonly channel: number;
  /** Brings `MountDescriptor`s. */
  readonly mounts: MessagePort;
}

export interface MountData extends CommonData {
  readonly role: 'mount';
  readonly cpuNodes: readonly number[];
  readonly extentCache: boolean;
  /** The other ends of the ZTs' `mounts`. */
  readonly zts: readonly MessagePort[];
}

export type ThreadData = ZtData | MountData | HelpData;

/** From a worker to the main thread. */
export type ThreadMessage =
  | { readonly kind: 'loaded' }
  | { readonly kind: 'registered' }
  | { readonly kind: 'cannot-start'; readonly reason: string }
  | { readonly kind: 'mounted'; readonly mount: MountDescriptor }
  | { readonly kind: 'unmounted'; readonly slot: number }
  /** The thread is out of the kernel for good; what is left is the end of its isolate. */
  | { readonly kind: 'left' };

/** Words that all threads see. A thread that sleeps in the kernel looks at them when it wakes. */
export class Control {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(32)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  static readonly #REFUSE = 0;
  static readonly #STARTED = 1;
  static readonly #READY = 2;
  static readonly #STOPPED = 3;
  static readonly #LEAVE = 4;
  static readonly #WARM = 5;

  /** New mounts fail from now on. */
  refuseMounts(): void {
    Atomics.store(this.#words, Control.#REFUSE, 1);
  }

  get refusesMounts(): boolean {
    return Atomics.load(this.#words, Control.#REFUSE) === 1;
  }

  /** The server has said that it is ready: whoever warms up takes no time from that any more. */
  warmUp(): void {
    Atomics.store(this.#words, Control.#WARM, 1);
    Atomics.notify(this.#words, Control.#WARM);
  }

  /** ZT: sleep until it is to warm up. */
  waitForWarmUp(): void {
    while (Atomics.load(this.#words, Control.#WARM) === 0) Atomics.wait(this.#words, Control.#WARM, 0);
  }

  /** The first mount has come: ZTs, open your channels. */
  startZts(): void {
    Atomics.store(this.#words, Control.#STARTED, 1);
    Atomics.notify(this.#words, Control.#STARTED);
  }

  /** Leave, whether started or not. */
  leave(): void {
    Atomics.store(this.#words, Control.#LEAVE, 1);
    this.warmUp();
    Atomics.store(this.#words, Control.#STARTED, 1);
    Atomics.notify(this.#words, Control.#STARTED);
    Atomics.notify(this.#words, Control.#READY);
  }

  get leaving(): boolean {
    return Atomics.load(this.#words, Control.#LEAVE) === 1;
  }

  /** ZT: sleep until it is to open its channel. */
  waitForStart(): void {
    while (Atomics.load(this.#words, Control.#STARTED) === 0) Atomics.wait(this.#words, Control.#STARTED, 0);
  }

  ztReady(): void {
    Atomics.add(this.#words, Control.#READY, 1);
    Atomics.notify(this.#words, Control.#READY);
  }

  ztStopped(): void {
    Atomics.add(this.#words, Control.#STOPPED, 1);
    Atomics.notify(this.#words, Control.#READY);
  }

  get readyZts(): number {
    return Atomics.load(this.#words, Control.#READY) - this.stoppedZts;
  }

  get stoppedZts(): number {
    return Atomics.load(this.#words, Control.#STOPPED);
  }

  /** Sleep until `count` ZTs are ready or have given up; returns how many serve. */
  waitForZts(count: number, milliseconds: number): number {
    const end = Date.now() + milliseconds;
    for (;;) {
      const ready = Atomics.load(this.#words, Control.#READY);
      if (ready >= count || this.leaving || Date.now() >= end) return this.readyZts;
      Atomics.wait(this.#words, Control.#READY, ready, Math.max(1, end - Date.now()));
    }
  }
}
