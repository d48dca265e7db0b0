// SPDX-License-Identifier: BSD-3-Clause

import * as f from './format.ts';

/** For fsck: trees made anew, in blocks that nothing else uses. */

/** Gives block numbers that are free. */
export type TakeBlock = () => number;

/** Blocks to write. */
export type NewBlocks = Map<number, Uint32Array>;

export interface DirectoryName {
  readonly name: Uint8Array;
  readonly hash: number;
  readonly ino: number;
  /** DT_* */
  readonly type: number;
}

interface Child {
  readonly block: number;
  readonly tag: number;
}

/** More names of one leaf's share of the hashes than fit, and no more bits to tell them apart by. */
export class RebuildError extends Error {
  override readonly name = 'RebuildError';
}

/** A directory's tree with these names, which differ from each other. */
export function buildDirectory(
  owner: number,
  names: readonly DirectoryName[],
  take: TakeBlock,
  blocks: NewBlocks,
): Child {
  const sorted = [...names].sort((a, b) => a.hash - b.hash);
  if (sorted.length === 0) return { block: 0, tag: 0 };
  if (fits(sorted)) return { block: buildLeaf(owner, sorted, take, blocks), tag: f.DIR_LEAF };
  return buildNode(owner, sorted, 0, f.TWO_32, 1, take, blocks);
}

function recordWords(nameLength: number): number {
  return f.DR_NAME + ((nameLength + 3) >>> 2);
}

function fits(names: readonly DirectoryName[]): boolean {
  const words = names.reduce((sum, { name }) => sum + recordWords(name.length), 0);
  return words <= f.BLOCK_WORDS - f.DL_RECORDS;
}

function buildLeaf(
  owner: number,
  names: readonly DirectoryName[],
  take: TakeBlock,
  blocks: NewBlocks,
): number {
  const words = new Uint32Array(f.BLOCK_WORDS);
  const bytes = new Uint8Array(words.buffer);
  words[f.DL_MAGIC] = f.DIR_LEAF_MAGIC;
  words[f.DL_OWNER] = owner;
  let at = f.DL_RECORDS;
  let tie = 0;
  names.forEach(({ name, hash, ino, type }, index) => {
    tie = index > 0 && names[index - 1].hash === hash ? tie + 1 : 0;
    let length = recordWords(name.length);
    // A rest too small for a record goes to the last one.
    if (f.BLOCK_WORDS - at - length < f.DR_MIN_WORDS) length = f.BLOCK_WORDS - at;
    words[at + f.DR_INO] = ino;
    words[at + f.DR_HASH] = hash;
    words[at + f.DR_SHAPE] = ((type << 24) | (name.length << 16) | length) >>> 0;
    words[at + f.DR_TIE] = tie;
    bytes.set(name, (at + f.DR_NAME) * 4);
    at += length;
  });
  if (at < f.BLOCK_WORDS) words[at + f.DR_SHAPE] = f.BLOCK_WORDS - at;
  const block = take();
  blocks.set(block, words);
  return block;
}

/** The node that covers hashes [first, first + span); `level` counts from 1. */
function buildNode(
  owner: number,
  names: readonly DirectoryName[],
  first: number,
  span: number,
  level: number,
  take: TakeBlock,
  blocks: NewBlocks,
): Child {
  if (level > f.DIR_MAX_LEVELS) throw new RebuildError('too many names share a hash');
  const words = new Uint32Array(f.BLOCK_WORDS);
  const block = take();
  blocks.set(block, words);
  const slotSpan = span / f.DIR_ENTRIES;
  const fill = (part: readonly DirectoryName[], slot: number, depth: number): void => {
    const slots = f.DIR_ENTRIES >>> depth;
    const from = first + slot * slotSpan;
    if (fits(part) || depth === f.DIR_SHIFT) {
      const child: Child = fits(part)
        ? { block: buildLeaf(owner, part, take, blocks), tag: f.DIR_LEAF + depth }
        : buildNode(owner, part, from, slotSpan, level + 1, take, blocks);
      for (let index = slot; index < slot + slots; index++) {
        words[index * 2] = child.block;
        words[index * 2 + 1] = child.tag;
      }
      return;
    }
    const half = from + (slots / 2) * slotSpan;
    fill(
      part.filter(({ hash }) => hash < half),
      slot,
      depth + 1,
    );
    fill(
      part.filter(({ hash }) => hash >= half),
      slot + slots / 2,
      depth + 1,
    );
  };
  fill(names, 0, 0);
  return { block, tag: f.DIR_NODE };
}

/** A map whose file blocks are `targets`, none of them a hole. */
export function buildMap(
  targets: readonly number[],
  take: TakeBlock,
  blocks: NewBlocks,
): { readonly root: number; readonly height: number } {
  let below = targets;
  for (let height = 1; ; height++) {
    const tag = height === 1 ? f.MAP_PRESENT : f.MAP_NODE + height - 1;
    const nodes: number[] = [];
    for (let first = 0; first < below.length; first += f.MAP_ENTRIES) {
      const words = new Uint32Array(f.BLOCK_WORDS);
      below.slice(first, first + f.MAP_ENTRIES).forEach((target, index) => {
        words[index * 2] = target;
        words[index * 2 + 1] = tag;
      });
      const node = take();
      blocks.set(node, words);
      nodes.push(node);
    }
    if (nodes.length === 1) return { root: nodes[0], height };
    below = nodes;
  }
}
