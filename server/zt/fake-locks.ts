// SPDX-License-Identifier: BSD-3-Clause

/**
 * What the VFS holds while it calls a file system, for fake kernels in several threads that work in the same
 * directories: a directory is locked for one who changes it, or for all who look names up in it.
 */

const SLOTS = 1024;
const WRITER = -1;

export class DirectoryLocks {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(SLOTS * 4)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  /** Run `action` with directories, by their cookies, to itself. */
  changing<T>(cookies: readonly number[], action: () => T): T {
    const slots = [...new Set(cookies.map((cookie) => cookie % SLOTS))].sort((a, b) => a - b);
    for (const slot of slots) this.#take(slot, (value) => (value === 0 ? WRITER : null));
    try {
      return action();
    } finally {
      for (const slot of slots) this.#give(slot, 0);
    }
  }

  looking<T>(cookie: number, action: () => T): T {
    const slot = cookie % SLOTS;
    this.#take(slot, (value) => (value >= 0 ? value + 1 : null));
    try {
      return action();
    } finally {
      Atomics.sub(this.#words, slot, 1);
      Atomics.notify(this.#words, slot);
    }
  }

  #take(slot: number, next: (value: number) => number | null): void {
    for (;;) {
      const value = Atomics.load(this.#words, slot);
      const wanted = next(value);
      if (wanted === null) Atomics.wait(this.#words, slot, value, 1);
      else if (Atomics.compareExchange(this.#words, slot, value, wanted) === value) return;
    }
  }

  #give(slot: number, value: number): void {
    Atomics.store(this.#words, slot, value);
    Atomics.notify(this.#words, slot);
  }
}
