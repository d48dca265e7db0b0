// SPDX-License-Identifier: BSD-3-Clause

/** For the crash tests: what is recorded of the stores to pmem, and what may be on the media after a power failure. */

import type { Recorder } from './pmem.ts';
import type { Random } from './test-model.ts';

const LINE = 64;

export type EventKind = 'store' | 'nonTemporal' | 'writeBack' | 'fence';

export interface MediaEvent {
  readonly kind: EventKind;
  /** Which ZT did it: a fence orders what its own CPU wrote back. */
  readonly zt: number;
  readonly offset: number;
  readonly length: number;
  /** What was stored. */
  readonly bytes: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** A recorder that appends to `events` what one ZT does to `memory`. */
export function recorderFor(events: MediaEvent[], memory: Uint8Array, zt: number): Recorder {
  const add = (kind: EventKind, offset: number, length: number, bytes: Uint8Array): void => {
    events.push({ kind, zt, offset, length, bytes });
  };
  return {
    store: (offset, length) => add('store', offset, length, memory.slice(offset, offset + length)),
    nonTemporal: (offset, length) =>
      add('nonTemporal', offset, length, memory.slice(offset, offset + length)),
    writeBack: (offset, length) => add('writeBack', offset, length, NOTHING),
    fence: () => add('fence', 0, 0, NOTHING),
  };
}

interface PendingLine {
  /** What the line held after each store since it was last durable. */
  versions: Uint8Array[];
  /** For each ZT the version that its next fence makes durable. */
  readonly flushed: Map<number, number>;
}

/** Follows the events and knows what is durable for sure, and what may be. */
export class Media {
  readonly durable: Uint8Array;
  /** What the CPUs see. */
  readonly current: Uint8Array;
  private readonly pending = new Map<number, PendingLine>();
  private readonly random: Random;

  constructor(image: Uint8Array, random: Random) {
    this.durable = image.slice();
    this.current = image.slice();
    this.random = random;
  }

  apply(event: MediaEvent): void {
    if (event.kind === 'fence') this.fence(event.zt);
    else if (event.kind === 'writeBack') this.writeBack(event);
    else this.store(event);
  }

  private store(event: MediaEvent): void {
    const first = Math.floor(event.offset / LINE);
    const last = Math.floor((event.offset + event.length - 1) / LINE);
    for (let line = first; line <= last; line++) {
      const start = line * LINE;
      const pending = this.pending.get(line) ?? { versions: [], flushed: new Map<number, number>() };
      this.pending.set(line, pending);
      const before = this.current.slice(start, start + LINE);
      const from = Math.max(start, event.offset);
      const to = Math.min(start + LINE, event.offset + event.length);
      this.current.set(event.bytes.subarray(from - event.offset, to - event.offset), from);
      const after = this.current.slice(start, start + LINE);
      if (to - from > 8) pending.versions.push(this.torn(before, after));
      pending.versions.push(after);
      if (event.kind === 'nonTemporal') pending.flushed.set(event.zt, pending.versions.length - 1);
    }
  }

  /** Only 8 bytes reach the media as one. */
  private torn(before: Uint8Array, after: Uint8Array): Uint8Array {
    const mixed = before.slice();
    for (let at = 0; at < LINE; at += 8) {
      if (this.random.next(2) === 0) mixed.set(after.subarray(at, at + 8), at);
    }
    return mixed;
  }

  private writeBack(event: MediaEvent): void {
    const last = Math.floor((event.offset + event.length - 1) / LINE);
    for (let line = Math.floor(event.offset / LINE); line <= last; line++) {
      const pending = this.pending.get(line);
      pending?.flushed.set(event.zt, pending.versions.length - 1);
    }
  }

  private fence(zt: number): void {
    for (const [line, pending] of this.pending) {
      const version = pending.flushed.get(zt);
      if (version === undefined) continue;
      this.durable.set(pending.versions[version], line * LINE);
      pending.versions = pending.versions.slice(version + 1);
      pending.flushed.delete(zt);
      for (const [other, index] of pending.flushed) {
        if (index <= version) pending.flushed.delete(other);
        else pending.flushed.set(other, index - version - 1);
      }
      if (pending.versions.length === 0) this.pending.delete(line);
    }
  }

  /** Write to `target` what may be on the media now: 'none' or 'all' of what is pending, or a choice for each line. */
  crash(target: Uint8Array, how: 'none' | 'all' | 'some'): void {
    target.set(this.durable);
    if (how === 'none') return;
    for (const [line, { versions }] of this.pending) {
      const choice = how === 'all' ? versions.length : this.random.next(versions.length + 1);
      if (choice > 0) target.set(versions[choice - 1], line * LINE);
    }
  }

  get pendingLines(): number {
    return this.pending.size;
  }
}
