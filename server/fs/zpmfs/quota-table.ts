// SPDX-License-Identifier: BSD-3-Clause

import type { Addon } from '../../native/addon.ts';
import { BLOCK_SIZE } from './format.ts';
import {
  H_QUOTA_DIRTY,
  H_QUOTA_ENFORCED,
  H_QUOTA_GRACE,
  H_QUOTA_OWNERS,
  type SharedState,
} from './shared.ts';

/** Types of quotas, as quotactl(2) numbers them: users, groups, projects. */
export const QUOTA_TYPES = 3;

/** Owners that a mount knows at most, of all types together. What comes later is neither counted nor limited. */
export const OWNERS_MAX = 1 << 16;
/** Twice as many places, so that looking for one stays short. */
const SLOTS_SHIFT = 17;
const SLOTS = 1 << SLOTS_SHIFT;
const OWNER_NUMBERS = 8;
/** Shared memory that the table takes. */
export const QUOTA_TABLE_BYTES = SLOTS * (3 * 4 + OWNER_NUMBERS * 8) + OWNERS_MAX * 4;

/** Resources: the first numbers of an owner are of its blocks, or bytes, the second ones of its inodes. */
export const SPACE = 0;
export const INODES = 1;
/** Blocks and inodes in use. */
export const Q_USED = 0;
/** Limits in bytes and inodes; 0: none. */
export const Q_HARD = 2;
export const Q_SOFT = 4;
/** When the soft limit becomes a hard one, in seconds since the epoch; 0: it is not exceeded. */
export const Q_TIMER = 6;

/** State of a place: free, being filled, or the type of its owner plus 1. */
const FREE = 0;
const BUSY = -1;
const NANOSECONDS = 1e9;
const TWO_32 = 4294967296;

/**
 * What owners have and may have, in memory that all ZTs of a mount share: open addressing by type and number. An owner stays where it
 * is as long as the mount. The numbers of one are changed under its lock, so that no two ZTs give away the same room.
 *
 * Numbers of owners are signed here, because a larger number would be an object on the heap.
 */
export class QuotaTable {
  private readonly shared: SharedState;
  private readonly states: Int32Array;
  private readonly ids: Int32Array;
  private readonly locks: Int32Array;
  /** Places of owners, plus 1, as they became known: to find all without looking at all places. */
  private readonly order: Int32Array;
  /** `Q_*` of each owner, the second resource behind the first. */
  readonly numbers: Float64Array;
  private readonly addon: Addon;
  private readonly clock = new Uint32Array(2);
  private readonly clockAddress: number;

  constructor(shared: SharedState, addon: Addon) {
    const { buffer, quotaTable: start } = shared;
    this.shared = shared;
    this.addon = addon;
    this.numbers = new Float64Array(buffer, start, SLOTS * OWNER_NUMBERS);
    const behind = start + SLOTS * OWNER_NUMBERS * 8;
    this.states = new Int32Array(buffer, behind, SLOTS);
    this.ids = new Int32Array(buffer, behind + SLOTS * 4, SLOTS);
    this.locks = new Int32Array(buffer, behind + SLOTS * 8, SLOTS);
    this.order = new Int32Array(buffer, behind + SLOTS * 12, OWNERS_MAX);
    this.clockAddress = addon.addressOf(this.clock.buffer);
  }

  /** The place of an owner; -1 when it is not known. */
  find(type: number, id: number): number {
    const slot = this.probe(type, id);
    return this.states[slot] === FREE ? -1 : slot;
  }

  /** The place of an owner, who becomes known with it; -1 when there are too many already. */
  slotFor(type: number, id: number): number {
    const { states, shared } = this;
    for (;;) {
      const slot = this.probe(type, id);
      if (Atomics.load(states, slot) !== FREE) return slot;
      if (Atomics.load(shared.header, H_QUOTA_OWNERS) >= OWNERS_MAX) return -1;
      if (Atomics.compareExchange(states, slot, FREE, BUSY) !== FREE) continue;
      const number = Atomics.add(shared.header, H_QUOTA_OWNERS, 1);
      if (number >= OWNERS_MAX) {
        Atomics.sub(shared.header, H_QUOTA_OWNERS, 1);
        Atomics.store(states, slot, FREE);
        return -1;
      }
      this.ids[slot] = id;
      Atomics.store(states, slot, type + 1);
      Atomics.store(this.order, number, slot + 1);
      return slot;
    }
  }

  /** Where the owner is, or the free place where it would be. */
  private probe(type: number, id: number): number {
    const { states, ids } = this;
    let slot = (Math.imul(id, 0x9e3779b1) ^ Math.imul(type + 1, 0x85ebca6b)) >>> (32 - SLOTS_SHIFT);
    for (;;) {
      const state = Atomics.load(states, slot);
      if (state === FREE) return slot;
      // Somebody fills it this very moment.
      if (state === BUSY) continue;
      if (state === type + 1 && ids[slot] === id) return slot;
      slot = (slot + 1) & (SLOTS - 1);
    }
  }

  idOf(slot: number): number {
    return this.ids[slot];
  }

  /** Numbers that `ownerAt` may be asked for. */
  get owners(): number {
    return Math.min(OWNERS_MAX, Atomics.load(this.shared.header, H_QUOTA_OWNERS));
  }

  /** The place of an owner of the type, by a number in which they became known; -1 when it is of another type. */
  ownerAt(type: number, number: number): number {
    const slot = Atomics.load(this.order, number) - 1;
    return slot >= 0 && this.states[slot] === type + 1 ? slot : -1;
  }

  /** Something is known of the owner that GET would tell: use or limits. */
  says(slot: number): boolean {
    const { numbers } = this;
    const first = slot * OWNER_NUMBERS;
    for (let at = first; at < first + OWNER_NUMBERS; at++) if (numbers[at] !== 0) return true;
    return false;
  }

  /** Limits are set, or a timer runs: what is kept on the media. */
  isKept(slot: number): boolean {
    const { numbers } = this;
    const first = slot * OWNER_NUMBERS;
    for (let at = first + Q_HARD; at < first + OWNER_NUMBERS; at++) if (numbers[at] !== 0) return true;
    return false;
  }

  /** One of the `Q_*` numbers, of a resource. */
  get(slot: number, number: number, resource: number): number {
    return this.numbers[slot * OWNER_NUMBERS + number + resource];
  }

  /** Under the owner's lock, but while the table is built. */
  put(slot: number, number: number, resource: number, value: number): void {
    this.numbers[slot * OWNER_NUMBERS + number + resource] = value;
  }

  lock(slot: number): void {
    for (let tries = 0; Atomics.compareExchange(this.locks, slot, 0, 1) !== 0; tries++)
      if (tries > 1000) this.addon.yieldCpu();
  }

  unlock(slot: number): void {
    Atomics.store(this.locks, slot, 0);
  }

  /** Whether limits of a type hold for an owner: number 0 has none. */
  private isLimited(type: number, slot: number): boolean {
    return this.ids[slot] !== 0 && ((Atomics.load(this.shared.header, H_QUOTA_ENFORCED) >>> type) & 1) !== 0;
  }

  /** Count more blocks and inodes for an owner. False, and nothing is counted, when that is beyond a limit that is not `forced`. */
  take(type: number, slot: number, blocks: number, inodes: number, forced: boolean): boolean {
    const isLimited = this.isLimited(type, slot);
    this.lock(slot);
    if (isLimited && !forced && (this.refuses(slot, SPACE, blocks) || this.refuses(slot, INODES, inodes))) {
      this.unlock(slot);
      return false;
    }
    this.numbers[slot * OWNER_NUMBERS + SPACE] += blocks;
    this.numbers[slot * OWNER_NUMBERS + INODES] += inodes;
    if (isLimited) this.adjustTimers(type, slot);
    this.unlock(slot);
    return true;
  }

  /** As `take`, while a mount counts: timers are looked at when all is counted. */
  add(slot: number, blocks: number, inodes: number): void {
    this.numbers[slot * OWNER_NUMBERS + SPACE] += blocks;
    this.numbers[slot * OWNER_NUMBERS + INODES] += inodes;
  }

  give(type: number, slot: number, blocks: number, inodes: number): void {
    const { numbers } = this;
    const at = slot * OWNER_NUMBERS;
    this.lock(slot);
    numbers[at + SPACE] = Math.max(0, numbers[at + SPACE] - blocks);
    numbers[at + INODES] = Math.max(0, numbers[at + INODES] - inodes);
    if (this.isLimited(type, slot)) this.adjustTimers(type, slot);
    this.unlock(slot);
  }

  private refuses(slot: number, resource: number, more: number): boolean {
    if (more <= 0) return false;
    const { numbers } = this;
    const at = slot * OWNER_NUMBERS + resource;
    const wanted = (numbers[at] + more) * (resource === SPACE ? BLOCK_SIZE : 1);
    if (numbers[at + Q_HARD] > 0 && wanted > numbers[at + Q_HARD]) return true;
    return numbers[at + Q_SOFT] > 0 && wanted > numbers[at + Q_SOFT] && this.hasPassed(at);
  }

  private hasPassed(at: number): boolean {
    const timer = this.numbers[at + Q_TIMER];
    return timer !== 0 && this.now() >= timer;
  }

  /** Blocks that an owner may still take, at most `most`. */
  room(type: number, slot: number, most: number): number {
    if (!this.isLimited(type, slot)) return most;
    const { numbers } = this;
    const at = slot * OWNER_NUMBERS + SPACE;
    this.lock(slot);
    let limit = numbers[at + Q_HARD];
    const soft = numbers[at + Q_SOFT];
    if (soft > 0 && (limit === 0 || soft < limit) && this.hasPassed(at)) limit = soft;
    const room = limit === 0 ? most : Math.floor(limit / BLOCK_SIZE) - numbers[at];
    this.unlock(slot);
    return Math.max(0, Math.min(most, room));
  }

  /** Start the timers of soft limits that are exceeded now, and clear those of others. Under the owner's lock. */
  adjustTimers(type: number, slot: number): void {
    this.adjustTimer(type, slot, SPACE);
    this.adjustTimer(type, slot, INODES);
  }

  private adjustTimer(type: number, slot: number, resource: number): void {
    const { numbers } = this;
    const { header } = this.shared;
    const at = slot * OWNER_NUMBERS + resource;
    const used = numbers[at] * (resource === SPACE ? BLOCK_SIZE : 1);
    const isOver = numbers[at + Q_SOFT] > 0 && used > numbers[at + Q_SOFT];
    if (isOver === (numbers[at + Q_TIMER] !== 0)) return;
    numbers[at + Q_TIMER] = isOver
      ? this.now() + Atomics.load(header, H_QUOTA_GRACE + type * 2 + resource)
      : 0;
    Atomics.store(header, H_QUOTA_DIRTY, 1);
  }

  /** Seconds since the epoch. */
  now(): number {
    this.addon.clockRealtimeCoarse(this.clockAddress);
    return Math.floor((this.clock[0] + this.clock[1] * TWO_32) / NANOSECONDS);
  }
}
