// SPDX-License-Identifier: BSD-3-Clause

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

/** A group, in words: its block, which part of that, a bit for each word that is staged, the words. `writeLog` of the addon reads it. */
const BLOCK = 0;
const PART = 1;
const MASK = 2;
const WORDS = 4;
const SIZE = WORDS + GROUP_WORDS;

/**
 * The words that a transaction is going to change, by block and word. An operation touches few places, and in these
 * neighbouring words: so a look-up is mostly that of the group of the one before.
 */
export class StagedWords {
  /** Groups in use; 0: nothing is staged. */
  count = 0;
  /** The groups, one behind the other: what is together in memory is in few pages. */
  readonly groups = new Uint32Array(GROUPS_MAX * SIZE);
  /** The same, for bits: a number above 2^31 would be an object on the heap. */
  readonly bits = new Int32Array(this.groups.buffer);
  /** Where the groups are: epoch and group. What has another epoch is of an earlier transaction. */
  private readonly table = new Uint32Array(TABLE_SIZE);
  private epoch = 1;
  /** The group that was looked up last: where it starts, its block and part. */
  private last = 0;
  private lastBlock = -1;
  private lastPart = 0;

  clear(): void {
    this.count = 0;
    this.lastBlock = -1;
    if (this.epoch === EPOCH_MAX) {
      this.table.fill(0);
      this.epoch = 0;
    }
    this.epoch++;
  }

  /** Where the word's value is in `groups`, -1 when it is not staged. */
  find(block: number, word: number): number {
    const part = word >>> GROUP_SHIFT;
    const group = this.isLast(block, part) ? this.last : this.groupOf(block, part);
    if (group < 0) return -1;
    const mask = this.bits[group + MASK + ((word >>> 5) & 1)];
    return (mask >>> (word & 31)) & 1 ? group + WORDS + (word & (GROUP_WORDS - 1)) : -1;
  }

  set(block: number, word: number, value: number): void {
    const group = this.groupFor(block, word >>> GROUP_SHIFT);
    this.groups[group + WORDS + (word & (GROUP_WORDS - 1))] = value;
    this.bits[group + MASK + ((word >>> 5) & 1)] |= 1 << (word & 31);
  }

  /** Stage neighbouring words, fewer than 32, of one half of a group. Returns where in `groups` they are, for the caller to fill. */
  stageRun(block: number, word: number, count: number): number {
    const group = this.groupFor(block, word >>> GROUP_SHIFT);
    this.bits[group + MASK + ((word >>> 5) & 1)] |= ((1 << count) - 1) << (word & 31);
    return group + WORDS + (word & (GROUP_WORDS - 1));
  }

  /** Stage a whole group of words, which begins at `word`. Returns where in `groups` they are, for the caller to fill. */
  stageGroup(block: number, word: number): number {
    const group = this.groupFor(block, word >>> GROUP_SHIFT);
    this.bits[group + MASK] = -1;
    this.bits[group + MASK + 1] = -1;
    return group + WORDS;
  }

  private isLast(block: number, part: number): boolean {
    return block === this.lastBlock && part === this.lastPart;
  }

  private remember(group: number, block: number, part: number): number {
    this.last = group;
    this.lastBlock = block;
    this.lastPart = part;
    return group;
  }

  private groupFor(block: number, part: number): number {
    if (this.isLast(block, part)) return this.last;
    const group = this.groupOf(block, part);
    return group < 0 ? this.addGroup(-1 - group, block, part) : group;
  }

  /** The group, or -1 minus its place in the table. */
  private groupOf(block: number, part: number): number {
    const { groups } = this;
    let place = (Math.imul(block, 0x9e3779b1) ^ Math.imul(part + 1, 0x85ebca6b)) >>> (31 - GROUPS_SHIFT);
    for (;;) {
      const entry = this.table[place];
      if (entry >>> GROUPS_SHIFT !== this.epoch) return -1 - place;
      const group = (entry & (GROUPS_MAX - 1)) * SIZE;
      if (groups[group + BLOCK] === block && groups[group + PART] === part)
        return this.remember(group, block, part);
      place = (place + 1) & TABLE_MASK;
    }
  }

  private addGroup(place: number, block: number, part: number): number {
    // No operation stages that much; one that did would be a mistake that must not reach the media.
    if (this.count === GROUPS_MAX) throw new RangeError('a transaction is too large');
    const group = this.count * SIZE;
    this.table[place] = ((this.epoch << GROUPS_SHIFT) | this.count) >>> 0;
    this.groups[group + BLOCK] = block;
    this.groups[group + PART] = part;
    this.bits[group + MASK] = 0;
    this.bits[group + MASK + 1] = 0;
    this.count++;
    return this.remember(group, block, part);
  }
}
