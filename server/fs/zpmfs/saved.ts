// SPDX-License-Identifier: BSD-3-Clause

import {
  BLOCK_SIZE,
  BLOCK_WORDS,
  checkWords,
  SAVED_CHECK,
  SAVED_DATA,
  SAVED_DATA_WORDS,
  SAVED_MAGIC,
  SAVED_NEXT,
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
 * which inodes are taken. It lies in a chain of blocks that are free: whoever mounts puts the file system in use
 * first, and with that there is nothing saved any more.
 */

/** Words of the references, two a word, and of the inodes' bits. */
function wordsOf(shared: SharedState): { readonly refs: number; readonly all: number } {
  const refs = Math.ceil(shared.refs.length / 2);
  return { refs, all: refs + shared.header[H_INODE_BLOCKS] };
}

/** Write the chain. Returns its first block and its words; block 0 when there is not enough room for it. */
export function saveAllocator(
  pmem: Pmem,
  shared: SharedState,
): { readonly block: number; readonly words: number } {
  const { refs, all } = wordsOf(shared);
  const blocks = findFree(shared, Math.ceil(all / SAVED_DATA_WORDS));
  if (blocks === null) return { block: 0, words: 0 };
  // What nobody looked at in this mount either.
  const counts = shared.refs;
  for (let block = 0; block < counts.length; block++)
    if (counts[block] === REF_METADATA_UNSEEN) counts[block] = REF_METADATA;
  const references = new Uint32Array(counts.buffer, counts.byteOffset, refs);
  const stamp = pmem.load(SUPER_BLOCK, SB_MOUNTS);
  blocks.forEach((block, number) => {
    const first = number * SAVED_DATA_WORDS;
    const count = Math.min(SAVED_DATA_WORDS, all - first);
    for (let index = 0; index < SAVED_DATA_WORDS; index++) {
      const at = first + index;
      let value = 0;
      if (index < count) value = at < refs ? references[at] : shared.inodeBits[at - refs] & 0xffff;
      pmem.store(block, SAVED_DATA + index, value);
    }
    pmem.store(block, 0, SAVED_MAGIC);
    pmem.store(block, SAVED_NEXT, blocks[number + 1] ?? 0);
    const content = pmem.u32.subarray(block * BLOCK_WORDS, (block + 1) * BLOCK_WORDS);
    for (let lane = 0; lane < 2; lane++)
      pmem.store(
        block,
        SAVED_CHECK + lane,
        checkWords(content, SAVED_DATA, BLOCK_WORDS, savedSeed(stamp, number, lane)),
      );
    pmem.writeBack(block, 0, BLOCK_SIZE);
  });
  pmem.fence();
  return { block: blocks[0], words: all };
}

function findFree(shared: SharedState, count: number): number[] | null {
  const found: number[] = [];
  for (let block = shared.refs.length - 1; block > 0 && found.length < count; block--) {
    if (shared.refs[block] === 0) found.push(block);
  }
  return found.length < count ? null : found;
}

/**
 * Read back what was saved; `shared` has the number of inode blocks already. Null, or why it is not to be had: then the
 * references are as they were, all 0.
 */
export function loadAllocator(pmem: Pmem, shared: SharedState): string | null {
  const { refs, all } = wordsOf(shared);
  let block = pmem.load(SUPER_BLOCK, SB_SAVED_BLOCK);
  if (block === 0) return 'nothing is saved';
  if (pmem.load(SUPER_BLOCK, SB_SAVED_WORDS) !== all) return 'its size is wrong';
  const references = new Uint32Array(shared.refs.buffer, shared.refs.byteOffset, refs);
  const stamp = pmem.load(SUPER_BLOCK, SB_MOUNTS);
  for (let first = 0, number = 0; first < all; first += SAVED_DATA_WORDS, number++) {
    const why = !pmem.inRange(block) || pmem.load(block, 0) !== SAVED_MAGIC ? 'it is cut short' : null;
    if (why !== null || !isWhole(pmem, block, stamp, number)) {
      shared.refs.fill(0);
      return why ?? 'its check is wrong';
    }
    const start = block * BLOCK_WORDS + SAVED_DATA;
    const count = Math.min(SAVED_DATA_WORDS, all - first);
    const forRefs = Math.max(0, Math.min(count, refs - first));
    references.set(pmem.u32.subarray(start, start + forRefs), Math.min(first, refs));
    for (let index = forRefs; index < count; index++)
      shared.inodeBits[first + index - refs] = pmem.u32[start + index] & 0xffff;
    block = pmem.load(block, SAVED_NEXT);
  }
  return null;
}

function isWhole(pmem: Pmem, block: number, stamp: number, number: number): boolean {
  const content = pmem.u32.subarray(block * BLOCK_WORDS, (block + 1) * BLOCK_WORDS);
  for (let lane = 0; lane < 2; lane++) {
    const check = checkWords(content, SAVED_DATA, BLOCK_WORDS, savedSeed(stamp, number, lane)) >>> 0;
    if (check !== content[SAVED_CHECK + lane]) return false;
  }
  return true;
}
