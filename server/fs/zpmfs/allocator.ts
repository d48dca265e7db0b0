// SPDX-License-Identifier: BSD-3-Clause

import type { AttachRequest } from '../filesystem.ts';
import { EIO, ENOSPC } from './errno.ts';
import { MAP_MAX_HEIGHT, MAP_SHIFT } from './format.ts';
import {
  CHUNK_BLOCKS,
  CHUNK_LARGE,
  CHUNK_MAP_WORDS,
  CHUNK_SHIFT,
  CHUNK_SMALL,
  CHUNK_UNUSED,
  GROUP_SHIFT,
  H_FREE_BLOCKS,
  H_MISCOUNTED,
  H_RESERVE_BLOCKS,
  REF_MAX,
  REF_METADATA,
  REF_METADATA_UNSEEN,
  type SharedState,
} from './shared.ts';

/** Chunks [start, end) that a ZT takes from first, inside those of its node. */
export interface Arena {
  readonly start: number;
  readonly end: number;
  readonly nodeStart: number;
  readonly nodeEnd: number;
}

/** Blocks of a window, which is one word of the bits. */
export const WINDOW_BLOCKS = 32;

/** What `Mapping.nodesFor` counts besides the nodes that are full, for the whole range and again for the last step of it. */
const MAP_NODES_AT_EDGES = 4 * MAP_MAX_HEIGHT;

/** Looks for one block in a chunk where others take and free some meanwhile. */
const CLAIM_TRIES = 1000;
/** Turns of looking for room before the clock is looked at, and the CPU given up in between. */
const TURNS_AT_ONCE = 100;
/**
 * What is promised may not be found as long as other ZTs hold a whole chunk to take a part of it, which is for microseconds, or
 * for as long as they don't get their CPU. Behind this the count is wrong.
 */
const FIND_NANOSECONDS = 2_000_000_000;

/** What `search` looks for. */
const PARTLY_FREE = 0;
const EMPTY = 1;
const ANY = 2;

/**
 * Free space, one of these a ZT over the shared state. Nothing of it is on the media.
 *
 * Three steps keep it exact without a lock: an operation first promises itself blocks from the count of the whole file
 * system (`reserve`), so that it cannot run dry halfway; taking a block first promises it from the count of its
 * chunk, so that a zero bit is sure to be found there; freeing goes the other way round.
 *
 * What is left of a promise is known here: taking more than that is refused, and what was not taken goes back to the count as it
 * is. What an operation took before it failed is nobody's until the next mount, which counts anew then.
 */
export class Allocator {
  private readonly shared: SharedState;
  /** Chunk that this ZT takes metadata from, and the one for data of small files; -1: none yet. */
  private metadataChunk = -1;
  private dataChunk = -1;
  /** Chunk that windows for files written here and there are taken from. */
  private windowChunk = -1;
  private readonly arena: Arena;
  private readonly log: AttachRequest['log'];
  private cursor: number;
  /** Blocks promised to the operation at hand and not taken yet. */
  private promised = 0;
  /** When the search for a promised block began to take long. */
  private searchedSince = 0;
  /** Said once, and not by each operation that meets it. */
  private toldOfCount = false;
  private toldOfPromise = false;
  /** How many blocks the last `takeRun` got. */
  runLength = 0;

  constructor(shared: SharedState, arena: Arena, log?: AttachRequest['log']) {
    this.shared = shared;
    this.arena = arena;
    this.log = log;
    this.cursor = arena.start;
  }

  free(): number {
    return Atomics.load(this.shared.header, H_FREE_BLOCKS);
  }

  /** What `reserve` has to give to operations without privilege. */
  available(): number {
    return Math.max(0, this.free() - this.shared.header[H_RESERVE_BLOCKS]);
  }

  /** Blocks of one file that there is room for: the nodes that map them come out of what is available too. */
  availableForData(): number {
    const available = this.available();
    let nodes = MAP_NODES_AT_EDGES;
    for (let shift = MAP_SHIFT; shift < 32; shift += MAP_SHIFT) nodes += available >>> shift;
    return Math.max(0, available - nodes);
  }

  /**
   * Promise `count` blocks to this operation, which has no other promise: what one that was cut short left of its own goes
   * back. The reserve is left to operations that make room (`privileged`).
   */
  reserve(count: number, privileged: boolean): boolean {
    this.unreserve();
    const header = this.shared.header;
    const keep = privileged ? 0 : header[H_RESERVE_BLOCKS];
    for (;;) {
      const free = Atomics.load(header, H_FREE_BLOCKS);
      if (free < count + keep) return false;
      if (Atomics.compareExchange(header, H_FREE_BLOCKS, free, free - count) === free) {
        this.promised = count;
        return true;
      }
    }
  }

  /** Give back what is left of the promise. */
  unreserve(): void {
    if (this.promised === 0) return;
    Atomics.add(this.shared.header, H_FREE_BLOCKS, this.promised);
    this.promised = 0;
  }

  /** An operation failed halfway, which damage or a defect brings about: what it took is nobody's, and is not to be saved. */
  abandon(): void {
    Atomics.store(this.shared.header, H_MISCOUNTED, 1);
    this.unreserve();
  }

  /** Take one promised block for metadata. Returns it, or -EIO or -ENOSPC, which only a defect brings about. */
  takeMetadata(): number {
    if (this.promised < 1) return this.refuseMore();
    for (let turn = 0; ; turn++) {
      if (this.metadataChunk >= 0 && this.promise(this.metadataChunk, 1)) {
        const block = this.claimOne(this.metadataChunk);
        if (block > 0) {
          this.promised--;
          this.shared.refs[block] = REF_METADATA;
          return block;
        }
      }
      this.metadataChunk = this.findChunk();
      if (turn >= TURNS_AT_ONCE && !this.goesOn(turn)) return this.giveUp();
    }
  }

  /**
   * Take up to `wanted` promised blocks in one run; `runLength` says how many. `goal` is where the run should start
   * (0: anywhere); `fileBlock` keeps a large file aligned as huge pages want it. Returns the first of them, or -EIO or -ENOSPC,
   * which only a defect brings about.
   */
  takeRun(wanted: number, goal: number, fileBlock: number, large: boolean): number {
    if (this.promised < wanted) return this.refuseMore();
    if (goal > 0 && goal < this.shared.refs.length) {
      const count = this.claimAt(goal, Math.min(wanted, CHUNK_BLOCKS - (goal & (CHUNK_BLOCKS - 1))));
      if (count > 0) return this.finishRun(goal, count);
    }
    if (large) {
      const inChunk = fileBlock & (CHUNK_BLOCKS - 1);
      const chunk = this.findEmptyChunk();
      if (chunk >= 0) {
        const count = Math.min(wanted, CHUNK_BLOCKS - inChunk);
        const start = chunk * CHUNK_BLOCKS + inChunk;
        this.markRange(start, count);
        this.returnPromise(chunk, CHUNK_BLOCKS - count);
        this.shared.chunkKind[chunk] = CHUNK_LARGE;
        return this.finishRun(start, count);
      }
    }
    for (let turn = 0; ; turn++) {
      if (this.dataChunk >= 0) {
        const start = this.claimFirst(this.dataChunk, Math.min(wanted, CHUNK_BLOCKS));
        if (start > 0) return this.finishRun(start, this.runLength);
      }
      this.dataChunk = this.findChunk();
      if (turn >= TURNS_AT_ONCE && !this.goesOn(turn)) return this.giveUp();
    }
  }

  /** Whether to look once more for what is promised, after so many turns. */
  private goesOn(turn: number): boolean {
    const now = this.shared.pause();
    if (turn === TURNS_AT_ONCE) this.searchedSince = now;
    return now - this.searchedSince < FIND_NANOSECONDS;
  }

  /** Nothing is there of what is promised: it does not go back to the count, which is so much too high. */
  private giveUp(): number {
    if (!this.toldOfCount)
      this.log?.(
        'error',
        `zpmfs: ${this.free() + this.promised} blocks are free by the count, and none is found; the next mount counts anew`,
      );
    this.toldOfCount = true;
    this.promised = 0;
    return -ENOSPC;
  }

  /** An operation wants more than it knew it would need: it must fail while nothing refers to what it has taken. */
  private refuseMore(): number {
    if (!this.toldOfPromise)
      this.log?.('error', 'zpmfs: an operation was refused because it took more blocks than it was promised');
    this.toldOfPromise = true;
    return -EIO;
  }

  /**
   * As `takeRun`, for a few blocks somewhere in a file that is larger: `goal` is their place next to what the file has near
   * them. Where that is taken, or there is nothing near, they go to their place in an empty window, which the blocks around
   * them will find free later: so a file that is written in any order comes to lie in order.
   */
  takeNear(wanted: number, goal: number, fileBlock: number): number {
    if (this.promised < wanted) return this.refuseMore();
    const inWindow = fileBlock & (WINDOW_BLOCKS - 1);
    const most = Math.min(wanted, WINDOW_BLOCKS - inWindow);
    if (goal > 0 && goal < this.shared.refs.length) {
      const count = this.claimAt(goal, Math.min(most, CHUNK_BLOCKS - (goal & (CHUNK_BLOCKS - 1))));
      if (count > 0) return this.finishRun(goal, count);
    }
    const start = this.claimWindow(inWindow, most);
    return start > 0 ? this.finishRun(start, most) : this.takeRun(wanted, 0, fileBlock, false);
  }

  /** Blocks from `inWindow` on in a window that is empty; 0 when there is no such window, nor an empty chunk to get one from. */
  private claimWindow(inWindow: number, count: number): number {
    const { taken, chunkKind } = this.shared;
    const bits = count === WINDOW_BLOCKS ? -1 : ((1 << count) - 1) << inWindow;
    for (let turn = 0; turn < 2; turn++) {
      const chunk = this.windowChunk;
      if (chunk >= 0 && this.promise(chunk, count)) {
        for (let word = chunk * CHUNK_MAP_WORDS; word < (chunk + 1) * CHUNK_MAP_WORDS; word++) {
          if (taken[word] === 0 && Atomics.compareExchange(taken, word, 0, bits) === 0)
            return word * WINDOW_BLOCKS + inWindow;
        }
        this.returnPromise(chunk, count);
      }
      this.windowChunk = this.findEmptyChunk();
      if (this.windowChunk < 0) return 0;
      // All of it is promised to us now: others may have the rest, but not as long as there is room elsewhere.
      chunkKind[this.windowChunk] = CHUNK_LARGE;
      this.returnPromise(this.windowChunk, CHUNK_BLOCKS);
    }
    return 0;
  }

  private finishRun(start: number, count: number): number {
    for (let block = start; block < start + count; block++) Atomics.store(this.shared.refs, block, 1);
    this.promised -= count;
    this.runLength = count;
    return start;
  }

  /** Give up a block that nothing on the media refers to any more. */
  release(block: number): void {
    const shared = this.shared;
    const chunk = block >>> CHUNK_SHIFT;
    Atomics.store(shared.refs, block, 0);
    Atomics.and(shared.taken, block >>> 5, ~(1 << (block & 31)));
    if (Atomics.add(shared.chunkFree, chunk, 1) === CHUNK_BLOCKS - 1) shared.chunkKind[chunk] = CHUNK_UNUSED;
    Atomics.add(shared.groupFree, chunk >>> GROUP_SHIFT, 1);
    Atomics.add(shared.header, H_FREE_BLOCKS, 1);
  }

  /** Drop one reference to a data block; frees it with the last. */
  drop(block: number): void {
    const refs = this.shared.refs;
    for (;;) {
      const count = Atomics.load(refs, block);
      if (count <= 1 || count >= REF_METADATA_UNSEEN) {
        if (count !== 0) this.release(block);
        return;
      }
      if (Atomics.compareExchange(refs, block, count, count - 1) === count) return;
    }
  }

  /** One more reference to a data block; false when it has too many already. */
  share(block: number): boolean {
    const refs = this.shared.refs;
    for (;;) {
      const count = Atomics.load(refs, block);
      if (count === 0 || count >= REF_MAX) return false;
      if (Atomics.compareExchange(refs, block, count, count + 1) === count) return true;
    }
  }

  references(block: number): number {
    return Atomics.load(this.shared.refs, block);
  }

  private promise(chunk: number, count: number): boolean {
    const chunkFree = this.shared.chunkFree;
    for (;;) {
      const free = Atomics.load(chunkFree, chunk);
      if (free < count) return false;
      if (Atomics.compareExchange(chunkFree, chunk, free, free - count) === free) {
        Atomics.sub(this.shared.groupFree, chunk >>> GROUP_SHIFT, count);
        return true;
      }
    }
  }

  private returnPromise(chunk: number, count: number): void {
    if (count === 0) return;
    Atomics.add(this.shared.chunkFree, chunk, count);
    Atomics.add(this.shared.groupFree, chunk >>> GROUP_SHIFT, count);
  }

  /** Take any one block of a chunk that was promised from it. 0: its count says more than its bits, and a little less now. */
  private claimOne(chunk: number): number {
    const taken = this.shared.taken;
    const first = chunk * CHUNK_MAP_WORDS;
    for (let tries = 0; tries < CLAIM_TRIES; tries++) {
      for (let index = 0; index < CHUNK_MAP_WORDS; index++) {
        const word = Atomics.load(taken, first + index);
        if (word === -1) continue;
        const low = ~word & (word + 1);
        if ((Atomics.or(taken, first + index, low) & low) === 0) {
          return (first + index) * 32 + (31 - Math.clz32(low));
        }
        index--;
      }
      // Another ZT took what we were about to, and freed what we had passed: a bit is there.
    }
    return 0;
  }

  /** Take consecutive blocks that start exactly at `start`; returns how many. */
  private claimAt(start: number, wanted: number): number {
    const taken = this.shared.taken;
    let free = 0;
    while (free < wanted) {
      const block = start + free;
      if ((taken[block >>> 5] >>> (block & 31)) & 1) break;
      free++;
    }
    if (free === 0) return 0;
    const chunk = start >>> CHUNK_SHIFT;
    if (!this.promise(chunk, free)) return 0;
    const got = this.markRange(start, free);
    this.returnPromise(chunk, free - got);
    return got;
  }

  /** Set the bits of a range until one is taken already; returns how many were set. */
  private markRange(start: number, count: number): number {
    const taken = this.shared.taken;
    for (let index = 0; index < count; index++) {
      const block = start + index;
      const bit = 1 << (block & 31);
      if ((Atomics.or(taken, block >>> 5, bit) & bit) !== 0) return index;
    }
    return count;
  }

  /** The first run of a chunk, up to `wanted` blocks; 0 when the chunk has none. */
  private claimFirst(chunk: number, wanted: number): number {
    const taken = this.shared.taken;
    const first = chunk * CHUNK_BLOCKS;
    let best = 0;
    let bestLength = 0;
    let run = 0;
    for (let index = 0; index < CHUNK_BLOCKS && bestLength < wanted; index++) {
      const block = first + index;
      if ((index & 31) === 0 && taken[block >>> 5] === -1) {
        run = 0;
        index += 31;
        continue;
      }
      if ((taken[block >>> 5] >>> (block & 31)) & 1) {
        run = 0;
        continue;
      }
      run++;
      if (run > bestLength) {
        bestLength = run;
        best = block - run + 1;
      }
    }
    if (bestLength === 0) return 0;
    const got = this.claimAt(best, bestLength);
    this.runLength = got;
    return got > 0 ? best : 0;
  }

  /** A chunk all of whose blocks are now promised to the caller; -1 when there is none. */
  private findEmptyChunk(): number {
    const { start, end, nodeStart, nodeEnd } = this.arena;
    let chunk = this.takeEmpty(start, end);
    if (chunk < 0) chunk = this.takeEmpty(nodeStart, nodeEnd);
    return chunk < 0 ? this.takeEmpty(0, this.shared.chunks) : chunk;
  }

  private takeEmpty(from: number, to: number): number {
    const shared = this.shared;
    for (let chunk = from; chunk < to; chunk++) {
      const isGroupStart = (chunk & ((1 << GROUP_SHIFT) - 1)) === 0;
      if (isGroupStart && shared.groupFree[chunk >>> GROUP_SHIFT] < CHUNK_BLOCKS) {
        chunk += (1 << GROUP_SHIFT) - 1;
        continue;
      }
      if (shared.chunkFree[chunk] === CHUNK_BLOCKS && this.promise(chunk, CHUNK_BLOCKS)) return chunk;
    }
    return -1;
  }

  /**
   * A chunk with room for small things. Out of the own arena as long as it has any that is empty or in use for them with a
   * good part free; a ZT whose arena runs dry takes from its node, then where most is free. Some chunk has room,
   * because the caller holds a promise from the count of the whole file system; -1 when all of it is with other ZTs just now.
   */
  private findChunk(): number {
    const { start, end, nodeStart, nodeEnd } = this.arena;
    let chunk = this.search(start, end, PARTLY_FREE);
    if (chunk < 0) chunk = this.search(start, end, EMPTY);
    if (chunk < 0) chunk = this.search(nodeStart, nodeEnd, EMPTY);
    if (chunk < 0) chunk = this.search(nodeStart, nodeEnd, PARTLY_FREE);
    if (chunk < 0) {
      const group = this.fullestGroup() << GROUP_SHIFT;
      const groupEnd = Math.min(this.shared.chunks, group + (1 << GROUP_SHIFT));
      chunk = this.search(group, groupEnd, EMPTY);
      if (chunk < 0) chunk = this.search(group, groupEnd, ANY);
    }
    if (chunk < 0) return -1;
    this.shared.chunkKind[chunk] = CHUNK_SMALL;
    this.cursor = chunk;
    return chunk;
  }

  private search(from: number, to: number, what: number): number {
    const { chunkFree, chunkKind } = this.shared;
    let chunk = this.cursor >= from && this.cursor < to ? this.cursor : from;
    for (let step = from; step < to; step++) {
      const free = chunkFree[chunk];
      if (what === EMPTY && free === CHUNK_BLOCKS) return chunk;
      if (what === ANY && free > 0) return chunk;
      if (what === PARTLY_FREE && free >= CHUNK_BLOCKS / 4 && chunkKind[chunk] === CHUNK_SMALL) return chunk;
      chunk++;
      if (chunk === to) chunk = from;
    }
    return -1;
  }

  /** The group with most free blocks. */
  private fullestGroup(): number {
    const { groupFree } = this.shared;
    let best = 0;
    for (let group = 1; group < groupFree.length; group++)
      if (groupFree[group] > groupFree[best]) best = group;
    return best;
  }
}
