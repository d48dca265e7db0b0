// SPDX-License-Identifier: BSD-3-Clause

/**
 * Which mounts there are, in shared memory: a generation per slot, 0 for a free one. The mount worker writes it before
 * it answers a mount and before it unmounts; a ZT compares it at each operation and attaches when it has changed.
 */

/** Slots 0..255; a cookie of an inode is `slot * 2^40 + index`. */
export const MAX_MOUNTS = 256;

/** Index of the last generation given out, behind those of the slots. */
const LAST = MAX_MOUNTS;
/** Index of the first of the claims, one a slot. */
const CLAIMS = MAX_MOUNTS + 1;
const WORDS = CLAIMS + MAX_MOUNTS;
/** What whoever has claimed a mount may take; it is microseconds. */
const CLAIM_MILLISECONDS = 1000;

export class MountRegistry {
  readonly buffer: SharedArrayBuffer;
  readonly #generations: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4 * WORDS)) {
    this.buffer = buffer;
    this.#generations = new Int32Array(buffer);
  }

  /** A plain read, as each operation has one, and Atomics.load is a call: an aligned word is read whole, and from memory each time. */
  generation(slot: number): number {
    return this.#generations[slot];
  }

  /** A slot that nobody uses, or null when all are taken. Only the mount worker asks. */
  freeSlot(): number | null {
    for (let slot = 0; slot < MAX_MOUNTS; slot++) if (this.generation(slot) === 0) return slot;
    return null;
  }

  nextGeneration(): number {
    return Atomics.add(this.#generations, LAST, 1) + 1;
  }

  publish(slot: number, generation: number): void {
    Atomics.store(this.#generations, slot, generation);
  }

  /** Nobody meets the mount any more. Returns when whoever had claimed it has let go. */
  withdraw(slot: number): void {
    Atomics.store(this.#generations, slot, 0);
    Atomics.wait(this.#generations, CLAIMS + slot, 1, CLAIM_MILLISECONDS);
  }

  /** Main thread: keep the mount from going away until `release`. False when it is not there. */
  claim(slot: number, generation: number): boolean {
    Atomics.store(this.#generations, CLAIMS + slot, 1);
    if (Atomics.load(this.#generations, slot) === generation) return true;
    this.release(slot);
    return false;
  }

  release(slot: number): void {
    Atomics.store(this.#generations, CLAIMS + slot, 0);
    Atomics.notify(this.#generations, CLAIMS + slot);
  }
}
