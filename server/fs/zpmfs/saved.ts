// SPDX-License-Identifier: BSD-3-Clause

import type { Addon } from '../../native/addon.ts';
import {
  BLOCK_SIZE,
  BLOCK_WORDS,
  checkWords,
  SAVED_CHECK,
  SAVED_DATA,
  SAVED_DATA_WORDS,
  SAVED_MAGIC,
  SAVED_NEXT,
  SAVED_PART,
  SB_MOUNTS,
  SB_SAVED_BLOCK,
  SB_SAVED_WORDS,
  SUPER_BLOCK,
  savedSeed,
} from './format.ts';
import type { Pmem } from './pmem.ts';
import { H_INODE_BLOCKS, REF_METADATA, REF_METADATA_UNSEEN, type SharedState } from './shared.ts';

/**
 * What a clean unmount saves, so that the next mount need not walk all inodes: how often each block is referred to, and
 * which inodes are taken. Parts in which nothing is taken are left out. It lies in a chain of blocks that are free: whoever mounts puts the file system in use
 * first, and with that there is nothing saved any more.
 */

/** The words that are saved: references, two a word, then the bits of the inodes. */
class SavedWords {
  readonly count: number;
  private readonly references: Uint32Array;
  private readonly shared: SharedState;
  private readonly addon: Addon;
  /** Of the references. */
  private readonly address: number;

  constructor(addon: Addon, shared: SharedState) {
    const { refs, header } = shared;
    this.addon = addon;
    this.address = shared.refsAddress;
    this.shared = shared;
    this.references = new Uint32Array(refs.buffer, refs.byteOffset, Math.ceil(refs.length / 2));
    this.count = this.references.length + header[H_INODE_BLOCKS];
  }

  get(at: number): number {
    const { references, shared } = this;
    return at < references.length ? references[at] : shared.inodeBits[at - references.length] & 0xffff;
  }

  put(from: number, values: Uint32Array): void {
    const { references, shared } = this;
    const count = Math.max(0, Math.min(values.length, references.length - from));
    if (count > 0) references.set(values.subarray(0, count), from);
    for (let index = count; index < values.length; index++)
      shared.inodeBits[from + index - references.length] = values[index] & 0xffff;
  }

  /** The words of a part: [from, to). */
  rangeOf(part: number): { readonly from: number; readonly to: number } {
    const from = part * SAVED_DATA_WORDS;
    return { from, to: Math.min(from + SAVED_DATA_WORDS, this.count) };
  }

  isEmpty(part: number): boolean {
    const { from, to } = this.rangeOf(part);
    const bits = Math.max(from, Math.min(to, this.references.length));
    if (!this.hasNoReference(from, bits)) return false;
    for (let at = bits; at < to; at++) if (this.get(at) !== 0) return false;
    return true;
  }

  private hasNoReference(from: number, to: number): boolean {
    const length = (to - from) * 4;
    return this.addon.firstNonZero(this.address + from * 4, length) === length;
  }

  clear(): void {
    this.references.fill(0);
    this.shared.inodeBits.fill(0);
  }
}

/** Write the chain. Returns its first block and the words saved; block 0 when there is not enough room for it. */
export function saveAllocator(
  pmem: Pmem,
  shared: SharedState,
): { readonly block: number; readonly words: number } {
  // What nobody looked at in this mount either.
  const counts = shared.refs;
  shared.forEachUsed((block) => {
    if (counts[block] === REF_METADATA_UNSEEN) counts[block] = REF_METADATA;
  });
  const words = new SavedWords(pmem.addon, shared);
  const parts: number[] = [];
  for (let part = 0; part * SAVED_DATA_WORDS < words.count; part++)
    if (!words.isEmpty(part)) parts.push(part);
  const blocks = findFree(shared, parts.length);
  if (blocks === null) return { block: 0, words: 0 };
  const stamp = pmem.load(SUPER_BLOCK, SB_MOUNTS);
  blocks.forEach((block, place) => {
    const { from, to } = words.rangeOf(parts[place]);
    for (let index = 0; index < SAVED_DATA_WORDS; index++)
      pmem.store(block, SAVED_DATA + index, from + index < to ? words.get(from + index) : 0);
    pmem.store(block, 0, SAVED_MAGIC);
    pmem.store(block, SAVED_NEXT, blocks[place + 1] ?? 0);
    pmem.store(block, SAVED_PART, parts[place]);
    for (let lane = 0; lane < 2; lane++)
      pmem.store(block, SAVED_CHECK + lane, checkOf(pmem, block, stamp, place, lane));
    pmem.writeBack(block, 0, BLOCK_SIZE);
  });
  pmem.fence();
  return { block: blocks[0], words: words.count };
}

function findFree(shared: SharedState, count: number): number[] | null {
  const found: number[] = [];
  for (let block = shared.refs.length - 1; block > 0 && found.length < count; block--) {
    if (shared.refs[block] === 0) found.push(block);
  }
  return found.length < count ? null : found;
}

function checkOf(pmem: Pmem, block: number, stamp: number, place: number, lane: number): number {
  const content = pmem.u32.subarray(block * BLOCK_WORDS, (block + 1) * BLOCK_WORDS);
  return checkWords(content, SAVED_NEXT, BLOCK_WORDS, savedSeed(stamp, place, lane)) >>> 0;
}

/**
 * Read back what was saved; `shared` has the number of inode blocks already. Null, or why it is not to be had: then the
 * references are as they were, all 0.
 */
export function loadAllocator(pmem: Pmem, shared: SharedState): string | null {
  const words = new SavedWords(pmem.addon, shared);
  const why = load(pmem, words);
  if (why !== null) words.clear();
  return why;
}

function load(pmem: Pmem, words: SavedWords): string | null {
  let block = pmem.load(SUPER_BLOCK, SB_SAVED_BLOCK);
  if (block === 0) return 'nothing is saved';
  if (pmem.load(SUPER_BLOCK, SB_SAVED_WORDS) !== words.count) return 'its size is wrong';
  const stamp = pmem.load(SUPER_BLOCK, SB_MOUNTS);
  let next = 0;
  for (let place = 0; block !== 0; place++) {
    if (!pmem.inRange(block) || pmem.load(block, 0) !== SAVED_MAGIC) return 'it is cut short';
    for (let lane = 0; lane < 2; lane++) {
      if (checkOf(pmem, block, stamp, place, lane) !== pmem.load(block, SAVED_CHECK + lane))
        return 'its check is wrong';
    }
    const part = pmem.load(block, SAVED_PART);
    const { from, to } = words.rangeOf(part);
    // Each part comes behind the one before, and so the chain ends.
    if (part < next || from >= words.count) return 'its parts are out of order';
    const data = block * BLOCK_WORDS + SAVED_DATA;
    words.put(from, pmem.u32.subarray(data, data + to - from));
    next = part + 1;
    block = pmem.load(block, SAVED_NEXT);
  }
  return null;
}
