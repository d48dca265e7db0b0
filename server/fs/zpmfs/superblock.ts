// SPDX-License-Identifier: BSD-3-Clause

import {
  BLOCK_WORDS,
  checkWords,
  FEATURES_KNOWN,
  FS_MAGIC,
  JOURNAL_SLOT_BLOCKS,
  LABEL_WORDS,
  SB_CHECKSUM,
  SB_CREATED,
  SB_DEVICES,
  SB_FEATURES,
  SB_HASH_SEED,
  SB_JOURNAL_FIRST,
  SB_JOURNAL_SLOTS,
  SB_LABEL,
  SB_MAGIC,
  SB_ROOT_INODE,
  SB_TOTAL_BLOCKS,
  SB_UUID,
  SB_VERSION,
  SUPER_CHECK_SEED,
  VERSION_MAJOR,
} from './format.ts';

export const LABEL_BYTES = LABEL_WORDS * 4;
/** Journal slots that the shared state has locks for. */
const JOURNAL_SLOTS_MAX = 255;

export interface Superblock {
  readonly totalBlocks: number;
  readonly journalFirst: number;
  readonly journalSlots: number;
  readonly hashSeed: number;
  readonly rootInode: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  readonly label: string;
  /** Nanoseconds since the epoch. */
  readonly created: bigint;
  readonly devices: number;
}

/** Check the static part and read it, and the label; a string says in a few words what is wrong with it. */
export function decodeSuperblock(words: Uint32Array): Superblock | string {
  if (words[SB_MAGIC] !== FS_MAGIC) return 'superblock has no magic';
  if (words[SB_CHECKSUM] !== checkWords(words, 0, SB_CHECKSUM, SUPER_CHECK_SEED) >>> 0)
    return 'checksum of the superblock is wrong';
  if (words[SB_VERSION] >>> 16 !== VERSION_MAJOR)
    return `format version ${words[SB_VERSION] >>> 16} is not known`;
  if ((words[SB_FEATURES] & ~FEATURES_KNOWN) !== 0) return 'superblock asks for features that are not known';
  const totalBlocks = words[SB_TOTAL_BLOCKS];
  const journalFirst = words[SB_JOURNAL_FIRST];
  const journalSlots = words[SB_JOURNAL_SLOTS];
  if (journalSlots === 0 || journalSlots > JOURNAL_SLOTS_MAX) return 'superblock has an impossible journal';
  if (journalFirst === 0 || journalFirst + journalSlots * JOURNAL_SLOT_BLOCKS >= totalBlocks) {
    return 'superblock puts the journal outside of the file system';
  }
  const bytes = new Uint8Array(words.buffer, words.byteOffset, BLOCK_WORDS * 4);
  const label = bytes.slice(SB_LABEL * 4, SB_LABEL * 4 + LABEL_BYTES);
  const end = label.indexOf(0);
  return {
    totalBlocks,
    journalFirst,
    journalSlots,
    hashSeed: words[SB_HASH_SEED],
    rootInode: words[SB_ROOT_INODE],
    uuid: bytes.slice(SB_UUID * 4, SB_UUID * 4 + 16),
    label: new TextDecoder().decode(label.subarray(0, end < 0 ? LABEL_BYTES : end)),
    created: BigInt(words[SB_CREATED]) | (BigInt(words[SB_CREATED + 1]) << 32n),
    devices: words[SB_DEVICES],
  };
}
