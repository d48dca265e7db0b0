// SPDX-License-Identifier: BSD-3-Clause

import { BLOCK_WORDS } from './format.ts';

/** Words are staged in groups of so many, of one block: an inode is one. */
const GROUP_SHIFT = 6;
const GROUP_WORDS = 1 << GROUP_SHIFT;
/** An operation changes words of four leaves of a map at most, and a few of what leads to them: a fifth of this. */
const GROUPS_SHIFT = 9;
const GROUPS_MAX = 1 << GROUPS_SHIFT;
/** Twice as many places as groups, so that a free one is always near. */
const TABLE_SIZE = GROUPS_MAX * 2;
const TABLE_MASK = TABLE_SIZE - 1;
const EPOCH_MAX = 2 ** (32 - GROUPS_SHIFT) - 1;

/**
 * The words that a transaction is going to change, by block and word. An operation touches few places, and in these
 * neighbouring words: so a look-up is mostly that of the group of the one before.
 */
export class StagedWords {
  /** Groups in use; 0: nothing is staged. */
  count = 0;
  private readonly blocks = new Uint32Array(GROUPS_MAX);
  private readonly parts = new Uint8Array(GROUPS_MAX);
  /** Which words of a group are staged: two words of 32 bits. */
  private readonly masks = new Int32Array(GROUPS_MAX * 2);
  private readonly values = new Uint32Array(GROUPS_MAX * GROUP_WORDS);
  /** Where the groups are: epoch and group. What has another epoch is of an earlier transaction. */
  private readonly table = new Uint32Array(TABLE_SIZE);
  private epoch = 1;
  private last = 0;

  clear(): void {
    this.count = 0;
    this.last = 0;
    if (this.epoch === EPOCH_MAX) {
      this.table.fill(0);
      this.epoch = 0;
    }
    this.epoch++;
  }

  /** Where the word's value is, -1 when it is not staged. */
  find(block: number, word: number): number {
    const part = word >>> GROUP_SHIFT;
    let group = this.last;
    if (!this.isAt(group, block, part)) {
      group = this.groupOf(block, part);
      if (group < 0) return -1;
    }
    const mask = this.masks[group * 2 + ((word >>> 5) & 1)];
    return (mask >>> (word & 31)) & 1 ? group * GROUP_WORDS + (word & (GROUP_WORDS - 1)) : -1;
  }

  valueAt(place: number): number {
    return this.values[place];
  }

  set(block: number, word: number, value: number): void {
    const group = this.groupFor(block, word >>> GROUP_SHIFT);
    this.values[group * GROUP_WORDS + (word & (GROUP_WORDS - 1))] = value;
    this.masks[group * 2 + ((word >>> 5) & 1)] |= 1 << (word & 31);
  }

  /** Stage a whole group of words, which begins at `word`: `count` words of `source` from `from` on, then zeroes. */
  setGroup(block: number, word: number, source: Int32Array, from: number, count: number): void {
    const { values, masks } = this;
    const group = this.groupFor(block, word >>> GROUP_SHIFT);
    const start = group * GROUP_WORDS;
    for (let index = 0; index < count; index++) values[start + index] = source[from + index];
    for (let index = count; index < GROUP_WORDS; index++) values[start + index] = 0;
    masks[group * 2] = -1;
    masks[group * 2 + 1] = -1;
  }

  private isAt(group: number, block: number, part: number): boolean {
    return this.blocks[group] === block && this.parts[group] === part && group < this.count;
  }

  private groupFor(block: number, part: number): number {
    if (this.isAt(this.last, block, part)) return this.last;
    const group = this.groupOf(block, part);
    return group < 0 ? this.addGroup(-1 - group, block, part) : group;
  }

  /** The group, or -1 minus its place in the table. */
  private groupOf(block: number, part: number): number {
    const { blocks, parts } = this;
    let place = (Math.imul(block, 0x9e3779b1) ^ Math.imul(part + 1, 0x85ebca6b)) >>> (31 - GROUPS_SHIFT);
    for (;;) {
      const entry = this.table[place];
      if (entry >>> GROUPS_SHIFT !== this.epoch) return -1 - place;
      const group = entry & (GROUPS_MAX - 1);
      if (blocks[group] === block && parts[group] === part) {
        this.last = group;
        return group;
      }
      place = (place + 1) & TABLE_MASK;
    }
  }

  private addGroup(place: number, block: number, part: number): number {
    const group = this.count;
    // No operation stages that much; one that did would be a mistake that must not reach the media.
    if (group === GROUPS_MAX) throw new RangeError('a transaction is too large');
    this.table[place] = ((this.epoch << GROUPS_SHIFT) | group) >>> 0;
    this.blocks[group] = block;
    this.parts[group] = part;
    this.masks[group * 2] = 0;
    this.masks[group * 2 + 1] = 0;
    this.last = group;
    this.count++;
    return group;
  }

  /**
   * Write all as records to `log` from word `at` on: block, (first word << 16 | count), the words. A record never crosses a
   * block. Returns where they end. Throws when the log is too short.
   */
  write(log: Uint32Array, at: number): number {
    const { blocks, parts, masks, values } = this;
    let to = at;
    let record = -1;
    // The word behind the last record.
    let next = -1;
    for (let group = 0; group < this.count; group++) {
      const block = blocks[group];
      for (let half = 0; half < 2; half++) {
        const first = parts[group] * GROUP_WORDS + half * 32;
        for (let bits = masks[group * 2 + half]; bits !== 0; ) {
          const low = 31 - Math.clz32(bits & -bits);
          const behind = ~(bits >>> low);
          const run = behind === 0 ? 32 : 31 - Math.clz32(behind & -behind);
          if (to + 2 + run > log.length) throw new RangeError('a transaction is too large');
          const word = first + low;
          if (word === next && log[record] === block) {
            log[record + 1] += run;
          } else {
            record = to;
            log[to] = block;
            log[to + 1] = (word << 16) | run;
            to += 2;
          }
          const from = group * GROUP_WORDS + half * 32 + low;
          for (let index = 0; index < run; index++) log[to + index] = values[from + index];
          to += run;
          next = word + run === BLOCK_WORDS ? -1 : word + run;
          bits = run === 32 ? 0 : bits & ~(((1 << run) - 1) << low);
        }
      }
    }
    return to;
  }
}
