// SPDX-License-Identifier: BSD-3-Clause

/** For tests: what the blocks of an image are, and journals to be replayed. */

import * as f from './format.ts';

export type BlockKind =
  | 'superblock'
  | 'device table'
  | 'inodes'
  | 'directory leaf'
  | 'directory node'
  | 'map node'
  | 'journal'
  | 'attributes';

/** The blocks of a clean image that hold metadata. */
export function blocksByKind(bytes: Uint8Array): Map<BlockKind, number[]> {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const kinds = new Map<BlockKind, number[]>();
  const add = (kind: BlockKind, block: number): void => {
    kinds.set(kind, [...(kinds.get(kind) ?? []), block]);
  };
  add('device table', f.DEVICE_TABLE_BLOCK);
  add('superblock', f.SUPER_BLOCK);
  add('superblock', f.SUPER_BACKUP_BLOCK);
  const superblock = words.subarray(f.SUPER_BLOCK * f.BLOCK_WORDS, (f.SUPER_BLOCK + 1) * f.BLOCK_WORDS);
  const journalEnd = f.JOURNAL_FIRST_BLOCK + superblock[f.SB_JOURNAL_SLOTS] * f.JOURNAL_SLOT_BLOCKS;
  for (let block = f.JOURNAL_FIRST_BLOCK; block < journalEnd; block += f.JOURNAL_SLOT_BLOCKS)
    add('journal', block);
  for (let block = journalEnd; block < superblock[f.SB_TOTAL_BLOCKS]; block++) {
    const kind = kindOf(words.subarray(block * f.BLOCK_WORDS, (block + 1) * f.BLOCK_WORDS));
    if (kind !== null) add(kind, block);
  }
  return kinds;
}

function kindOf(words: Uint32Array): BlockKind | null {
  if (words[0] === f.DIR_LEAF_MAGIC) return 'directory leaf';
  if (words[0] === f.XATTR_MAGIC) return 'attributes';
  for (let slot = 0; slot < f.INODES_PER_BLOCK; slot++) {
    if (words[slot * f.INODE_WORDS + f.X_STATE] === f.INODE_IN_USE) return 'inodes';
  }
  for (let entry = 0; entry < f.MAP_ENTRIES; entry++) {
    const tag = words[entry * 2 + 1];
    if (tag === 0) continue;
    const kind = (tag & f.DIR_KIND_MASK) >>> 0;
    if (kind === f.DIR_LEAF || kind === f.DIR_NODE) return 'directory node';
    const isLeafEntry =
      (tag & ~f.MAP_LEAF_BITS) === 0 && (tag & f.MAP_PRESENT) !== 0 && words[entry * 2] !== 0;
    return kind === f.MAP_NODE || isLeafEntry ? 'map node' : null;
  }
  return null;
}

export interface TransactionRecord {
  readonly block: number;
  readonly word: number;
  readonly values: readonly number[];
}

/** Write a transaction to a slot of the journal as a commit does, so that the next mount replays it. */
export function putTransaction(bytes: Uint8Array, slot: number, records: readonly TransactionRecord[]): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const at = (f.JOURNAL_FIRST_BLOCK + slot * f.JOURNAL_SLOT_BLOCKS) * f.BLOCK_WORDS;
  const log = words.subarray(at, at + f.JOURNAL_SLOT_WORDS);
  let used = f.J_RECORDS;
  for (const { block, word, values } of records) {
    log[used] = block;
    log[used + 1] = (word << 16) | values.length;
    log.set(values, used + 2);
    used += 2 + values.length;
  }
  log[f.J_MAGIC] = f.JOURNAL_MAGIC;
  log[f.J_WORDS] = used;
  log[f.J_SEQUENCE] = 1;
  log[f.J_CHECK_LOW] = f.checkWords(log, f.J_SEQUENCE, used, f.JOURNAL_CHECK_SEED_LOW);
  log[f.J_CHECK_HIGH] = f.checkWords(log, f.J_SEQUENCE, used, f.JOURNAL_CHECK_SEED_HIGH);
}
