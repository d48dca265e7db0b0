// SPDX-License-Identifier: BSD-3-Clause

/**
 * What lies where on the media. FORMAT.md says the same in words.
 *
 * Positions inside a block are counted in 32-bit words unless a name says bytes: all of zpmfs reads and writes pmem
 * as a Uint32Array. A 64-bit field is two words, low one first.
 */

export const BLOCK_SIZE = 4096;
export const BLOCK_SHIFT = 12;
export const BLOCK_WORDS = 1024;
export const TWO_32 = 4294967296;

export const FS_NAME = 'zpmfs';
/** "ZPMF" */
export const FS_MAGIC = 0x5a504d46;
export const VERSION_MAJOR = 1;
export const VERSION_MINOR = 0;

/** Largest file: block numbers within a file are 32 bits. */
export const MAX_FILE_BLOCKS = 0xffffffff;
export const MAX_FILE_SIZE = MAX_FILE_BLOCKS * BLOCK_SIZE;
/** The smallest file system: a device is rounded down to 2 MiB, and the journal must leave room. */
export const MIN_BLOCKS = 512;

// --- fixed blocks of the first device ---
export const DEVICE_TABLE_BLOCK = 0;
export const SUPER_BLOCK = 1;
/** Copy of the static part of the superblock, for fsck. */
export const SUPER_BACKUP_BLOCK = 2;
export const JOURNAL_FIRST_BLOCK = 3;

// --- superblock, static part: words 0..31, the last one its checksum ---
export const SB_MAGIC = 0;
export const SB_VERSION = 1;
export const SB_FEATURES = 2;
export const SB_TOTAL_BLOCKS = 3;
export const SB_JOURNAL_FIRST = 4;
export const SB_JOURNAL_SLOTS = 5;
export const SB_HASH_SEED = 6;
export const SB_ROOT_INODE = 7;
export const SB_UUID = 8; // 4 words
export const SB_CREATED = 20; // 2 words, nanoseconds
export const SB_DEVICES = 22;
export const SB_CHECKSUM = 31;
// --- superblock, dynamic part: not covered by the checksum ---
export const SB_STATE = 64;
export const SB_MOUNTS = 65;
/**
 * What a clean unmount saved of the allocator's state: first block of its chain (0: nothing), and its words. In one
 * cache line with the state, and good only while that is clean.
 */
export const SB_SAVED_BLOCK = 66;
export const SB_SAVED_WORDS = 67;
/** Changed by a transaction, in the copy of the superblock too. */
export const SB_LABEL = 80; // 8 words, 32 bytes, NUL padded
export const LABEL_WORDS = 8;
/** The inode table is mapped like a file; this is its inode record, of which only the extension words count. */
export const SB_INODE_TABLE = 128;

export const STATE_CLEAN = 1;
export const STATE_IN_USE = 2;
/** Features that a mount must know; any other bit refuses the mount. */
export const FEATURES_KNOWN = 0;

// --- journal ---
export const JOURNAL_SLOT_BLOCKS = 16;
export const JOURNAL_SLOT_WORDS = JOURNAL_SLOT_BLOCKS * BLOCK_WORDS;
/** "ZTXN" */
export const JOURNAL_MAGIC = 0x4e58545a;
export const J_MAGIC = 0;
export const J_WORDS = 1;
export const J_CHECK_LOW = 2;
export const J_CHECK_HIGH = 3;
export const J_SEQUENCE = 4;
export const J_RECORDS = 16;

// --- saved allocator state: a chain of blocks ---
/** "ZSAV" */
export const SAVED_MAGIC = 0x5641535a;
export const SAVED_CHECK = 1; // 2 words, of all from SAVED_NEXT on
export const SAVED_NEXT = 3;
/** Which part of the words the block has; parts that are all 0 have no block. */
export const SAVED_PART = 4;
export const SAVED_DATA = 5;
export const SAVED_DATA_WORDS = BLOCK_WORDS - SAVED_DATA;
/**
 * Of the check of the block at `place` of a chain written in mount `stamp`: no block of another chain fits, and none of this one
 * at another place. So a chain that ends, ends where it was made to.
 */
export function savedSeed(stamp: number, place: number, lane: number): number {
  return (
    Math.imul(stamp + 1, 0x9e3779b1) ^
    Math.imul(place + 1, 0x85ebca6b) ^
    (lane === 0 ? 0x53415645 : 0x5a504d46)
  );
}

// --- inode slot: 64 words, the first 32 are struct zus_inode ---
export const INODE_WORDS = 64;
export const INODE_BYTES = 256;
export const INODES_PER_BLOCK = 16;
/** i_flags in the low, i_mode in the high half. */
export const I_FLAGS_MODE = 0;
export const I_NLINK = 1;
export const I_SIZE = 2;
export const I_BLOCKS = 8;
export const I_MTIME = 10;
export const I_CTIME = 12;
export const I_ATIME = 14;
export const I_INO = 16;
export const I_UID = 18;
export const I_GID = 19;
export const I_XATTR = 20;
export const I_GENERATION = 22;
export const I_RDEV = 24;
export const I_SYMLINK = 24;
export const I_SYMLINK_DPP = 24;
/** Root of a directory's tree, as an entry of a directory node (block, kind and depth). */
export const I_DIR_ROOT = 24;
export const I_PARENT = 26;
// --- our extension ---
export const X_STATE = 32;
export const X_MAP_ROOT = 33;
export const X_MAP_HEIGHT = 34;
export const X_XFLAGS = 35;
export const X_BIRTH = 36;
export const X_PROJECT = 38;
export const X_ENTRIES = 39;
export const X_XATTR_BLOCK = 40;
export const X_XATTR_BLOCKS = 41;
export const X_EXTENT_HINT = 42;
export const X_XATTR_INLINE_BYTES = 43;
export const X_XATTR_INLINE = 44;
export const XATTR_INLINE_BYTES = 80;
/** "INOD": the slot is in use. 0: free. */
export const INODE_IN_USE = 0x444f4e49;

export const ROOT_INODE = 1;
export const SYMLINK_INLINE_BYTES = 32;
export const SYMLINK_MAX_BYTES = 4095;
export const NAME_MAX = 255;
export const LINK_MAX = 32000;

// --- mapping node: 512 entries of two words ---
export const MAP_ENTRIES = 512;
export const MAP_SHIFT = 9;
export const MAP_MAX_HEIGHT = 4;
/** Second word of an entry that points to a node of level n: MAP_NODE + n (n = 1: a leaf). */
export const MAP_NODE = 0x4e4d5a00;
/** Second word of a leaf entry: PRESENT with any of the other two. */
export const MAP_PRESENT = 1;
export const MAP_UNWRITTEN = 2;
export const MAP_SHARED = 4;
export const MAP_LEAF_BITS = 7;

// --- directory: node of 512 entries of two words (block, kind | depth); leaf of packed records ---
export const DIR_ENTRIES = 512;
export const DIR_SHIFT = 9;
/** Levels of nodes: 27 bits of hash choose the leaf. */
export const DIR_MAX_LEVELS = 3;
export const DIR_KIND_MASK = 0xffffff00;
export const DIR_LEAF = 0x4c445a00;
export const DIR_NODE = 0x4e445a00;
export const DIR_DEPTH_MASK = 0xff;
/** "ZDIR" */
export const DIR_LEAF_MAGIC = 0x5249445a;
export const DL_MAGIC = 0;
export const DL_OWNER = 1;
export const DL_RECORDS = 16;
// record: words
export const DR_INO = 0;
export const DR_HASH = 1;
/** Record length in words (low 16 bits), name length (8), DT_* (8). */
export const DR_SHAPE = 2;
/** Tells names of one hash apart in readdir positions. */
export const DR_TIE = 3;
export const DR_NAME = 4;
export const DR_MIN_WORDS = 5;

// --- extended attributes in blocks: a chain, the byte stream goes on from block to block ---
/** "ZXAT" */
export const XATTR_MAGIC = 0x5441585a;
export const XB_MAGIC = 0;
export const XB_OWNER = 1;
export const XB_NEXT = 2;
export const XB_BYTES = 3;
export const XB_DATA = 4;
export const XATTR_BLOCK_BYTES = BLOCK_SIZE - XB_DATA * 4;
/** Blocks of extended attributes that an inode has at most. */
export const XATTR_BLOCKS_MAX = 64;
/** The root has what belongs to quotas besides. */
export const ROOT_XATTR_BLOCKS_MAX = 1024;
export function xattrBlocksMax(index: number): number {
  return index === ROOT_INODE ? ROOT_XATTR_BLOCKS_MAX : XATTR_BLOCKS_MAX;
}

// --- quotas: attributes of the root that no application sees ---
/** Their type, behind those that applications know (X_F_*). */
export const XATTR_QUOTA = 5;
/** First byte of the name: limits of owners of type QUOTA_LIMITS + 0, 1, 2, in parts whose number follows, or the grace times. */
export const QUOTA_LIMITS = 0x30;
export const QUOTA_GRACE = 0x47;
export const QUOTA_NAME_BYTES = 3;
/** Bytes of an owner's limits: number, then hard and soft limits and timers, of space and inodes each, 64 bits. */
export const QUOTA_OWNER_BYTES = 52;
/** Owners of one attribute at most. */
export const QUOTA_PART = 1024;
/** Seconds, 32 bits: of space and inodes, for each type. */
export const QUOTA_GRACE_BYTES = 24;
/** Whether an attribute of quotas has a name and a size that make sense. */
export function isQuotaRecord(kind: number, nameLength: number, valueLength: number): boolean {
  if (nameLength !== QUOTA_NAME_BYTES) return false;
  if (kind === QUOTA_GRACE) return valueLength === QUOTA_GRACE_BYTES;
  const owners = valueLength / QUOTA_OWNER_BYTES;
  return kind >= QUOTA_LIMITS && kind < QUOTA_LIMITS + 3 && Number.isInteger(owners) && owners <= QUOTA_PART;
}

export const S_IFMT = 0xf000;
export const S_IFIFO = 0x1000;
export const S_IFCHR = 0x2000;
export const S_IFDIR = 0x4000;
export const S_IFBLK = 0x6000;
export const S_IFREG = 0x8000;
export const S_IFLNK = 0xa000;
export const S_IFSOCK = 0xc000;

/** Whether the type bits of a mode are ones that POSIX knows. */
export function isValidMode(mode: number): boolean {
  const type = mode & S_IFMT;
  return (
    type === S_IFREG ||
    type === S_IFDIR ||
    type === S_IFLNK ||
    type === S_IFCHR ||
    type === S_IFBLK ||
    type === S_IFIFO ||
    type === S_IFSOCK
  );
}

/**
 * 64-bit check over words, in two 32-bit lanes: `lane` picks one. Cheap enough for every transaction.
 * Signed: a larger number would be an object on the heap wherever it goes through a call.
 */
export function checkWords(words: Uint32Array, from: number, to: number, seed: number): number {
  let hash = seed | 0;
  for (let index = from; index < to; index++) {
    let value = Math.imul(words[index], 0xcc9e2d51);
    value = (value << 15) | (value >>> 17);
    hash ^= Math.imul(value, 0x1b873593);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  return finishCheck(hash, to - from);
}

function finishCheck(sum: number, words: number): number {
  let hash = sum ^ words;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

export const SUPER_CHECK_SEED = 0x5355_5045;
export const JOURNAL_CHECK_SEED_LOW = 0x4a4f_5552;
export const JOURNAL_CHECK_SEED_HIGH = 0x4e41_4c21;

/** Put both lanes of `checkWords` over [from, to) at `at`, in one go over the words. */
export function putChecks(
  content: Uint32Array,
  from: number,
  to: number,
  seedLow: number,
  seedHigh: number,
  at: number,
): void {
  let low = seedLow | 0;
  let high = seedHigh | 0;
  for (let index = from; index < to; index++) {
    let value = Math.imul(content[index], 0xcc9e2d51);
    value = Math.imul((value << 15) | (value >>> 17), 0x1b873593);
    low ^= value;
    low = (Math.imul((low << 13) | (low >>> 19), 5) + 0xe6546b64) | 0;
    high ^= value;
    high = (Math.imul((high << 13) | (high >>> 19), 5) + 0xe6546b64) | 0;
  }
  content[at] = finishCheck(low, to - from);
  content[at + 1] = finishCheck(high, to - from);
}

/** How many journal slots a file system of this size gets: one a ZT while there is room. */
export function journalSlotsFor(totalBlocks: number): number {
  if (totalBlocks < 4096) return 4;
  if (totalBlocks < 65536) return 16;
  return 64;
}
