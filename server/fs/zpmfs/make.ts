// SPDX-License-Identifier: BSD-3-Clause

import { closeSync, openSync, readSync } from 'node:fs';
import { encodeDeviceTable } from './device-table.ts';
import {
  BLOCK_SIZE,
  BLOCK_WORDS,
  checkWords,
  FS_MAGIC,
  I_ATIME,
  I_CTIME,
  I_FLAGS_MODE,
  I_GENERATION,
  I_GID,
  I_INO,
  I_MTIME,
  I_NLINK,
  I_PARENT,
  I_SIZE,
  I_UID,
  INODE_IN_USE,
  INODE_WORDS,
  JOURNAL_FIRST_BLOCK,
  JOURNAL_SLOT_BLOCKS,
  journalSlotsFor,
  MAP_PRESENT,
  MIN_BLOCKS,
  ROOT_INODE,
  S_IFDIR,
  SB_CHECKSUM,
  SB_CREATED,
  SB_DEVICES,
  SB_FEATURES,
  SB_HASH_SEED,
  SB_INODE_TABLE,
  SB_JOURNAL_FIRST,
  SB_JOURNAL_SLOTS,
  SB_LABEL,
  SB_MAGIC,
  SB_ROOT_INODE,
  SB_STATE,
  SB_TOTAL_BLOCKS,
  SB_UUID,
  SB_VERSION,
  STATE_CLEAN,
  SUPER_BACKUP_BLOCK,
  SUPER_BLOCK,
  SUPER_CHECK_SEED,
  VERSION_MAJOR,
  VERSION_MINOR,
  X_BIRTH,
  X_MAP_HEIGHT,
  X_MAP_ROOT,
  X_STATE,
} from './format.ts';
import { LABEL_BYTES } from './superblock.ts';

export interface MakeDevice {
  /** 4 KiB blocks, a multiple of 512. */
  readonly blocks: number;
  readonly node: number;
}

export interface MakeOptions {
  readonly label?: string;
  /** 16 bytes; random unless given. */
  readonly uuid?: Uint8Array;
  /** Use only so many blocks of the devices. */
  readonly totalBlocks?: number;
  /** Nanoseconds since the epoch; now unless given. */
  readonly now?: bigint;
  /** Seed of the names' hash; random unless given. */
  readonly hashSeed?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** A file system that cannot be made as asked for. */
export class MakeError extends Error {
  override readonly name = 'MakeError';
}

/** Straight from the kernel: Node's own would have to be loaded first, which takes as long as all else that mkfs does. */
function randomBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  const fd = openSync('/dev/urandom', 'r');
  try {
    readSync(fd, bytes);
  } finally {
    closeSync(fd);
  }
  return bytes;
}

function randomUuid(): Uint8Array {
  const bytes = randomBytes(16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes;
}

/**
 * Lay out an empty file system. `write` stores blocks by their number in the flat range of all devices; the blocks
 * that make it a file system come last, so that a run cut short leaves none.
 */
export function makeFileSystem(
  devices: readonly MakeDevice[],
  options: MakeOptions,
  write: (block: number, bytes: Uint8Array) => void,
): { readonly totalBlocks: number; readonly journalSlots: number; readonly uuid: Uint8Array } {
  const available = devices.reduce((sum, device) => sum + device.blocks, 0);
  const totalBlocks = Math.min(available, options.totalBlocks ?? available);
  if (totalBlocks < MIN_BLOCKS) {
    throw new MakeError(
      `the file system would have ${totalBlocks * 4} KiB; at least ${MIN_BLOCKS * 4} KiB are needed`,
    );
  }
  if (totalBlocks > 2 ** 32 - 1) throw new MakeError('more than 16 TiB is not supported');
  const label = new TextEncoder().encode(options.label ?? '');
  if (label.length > LABEL_BYTES) throw new MakeError(`the label is longer than ${LABEL_BYTES} bytes`);
  const uuid = options.uuid ?? randomUuid();
  const now = options.now ?? BigInt(Date.now()) * 1_000_000n;
  const journalSlots = journalSlotsFor(totalBlocks);
  const mapBlock = JOURNAL_FIRST_BLOCK + journalSlots * JOURNAL_SLOT_BLOCKS;
  const inodeBlock = mapBlock + 1;
  if (devices[0].blocks <= inodeBlock) throw new MakeError('the first device is too small');

  const empty = new Uint8Array(BLOCK_SIZE);
  for (let slot = 0; slot < journalSlots; slot++)
    write(JOURNAL_FIRST_BLOCK + slot * JOURNAL_SLOT_BLOCKS, empty);
  const map = new Uint32Array(BLOCK_WORDS);
  map[0] = inodeBlock;
  map[1] = MAP_PRESENT;
  write(mapBlock, new Uint8Array(map.buffer));
  write(inodeBlock, rootInode(now, options));

  const words = new Uint32Array(BLOCK_WORDS);
  const bytes = new Uint8Array(words.buffer);
  words[SB_MAGIC] = FS_MAGIC;
  words[SB_VERSION] = (VERSION_MAJOR << 16) | VERSION_MINOR;
  words[SB_FEATURES] = 0;
  words[SB_TOTAL_BLOCKS] = totalBlocks;
  words[SB_JOURNAL_FIRST] = JOURNAL_FIRST_BLOCK;
  words[SB_JOURNAL_SLOTS] = journalSlots;
  words[SB_HASH_SEED] = options.hashSeed ?? new Uint32Array(randomBytes(4).buffer)[0];
  words[SB_ROOT_INODE] = ROOT_INODE;
  bytes.set(uuid, SB_UUID * 4);
  bytes.set(label, SB_LABEL * 4);
  setTime(words, SB_CREATED, now);
  words[SB_DEVICES] = devices.length;
  words[SB_CHECKSUM] = checkWords(words, 0, SB_CHECKSUM, SUPER_CHECK_SEED);
  words[SB_INODE_TABLE + X_MAP_ROOT] = mapBlock;
  words[SB_INODE_TABLE + X_MAP_HEIGHT] = 1;
  words[SB_INODE_TABLE + I_SIZE] = BLOCK_SIZE;
  write(SUPER_BACKUP_BLOCK, bytes.slice());
  words[SB_STATE] = STATE_CLEAN;
  write(SUPER_BLOCK, bytes);

  const tableDevices = devices.map((device) => ({
    uuid: randomUuid(),
    blocks: device.blocks,
    node: device.node,
  }));
  let start = 0;
  devices.forEach((device, index) => {
    write(start, encodeDeviceTable({ uuid, index, devices: tableDevices }, now));
    start += device.blocks;
  });
  return { totalBlocks, journalSlots, uuid };
}

function setTime(words: Uint32Array, at: number, nanoseconds: bigint): void {
  words[at] = Number(nanoseconds & 0xffffffffn);
  words[at + 1] = Number((nanoseconds >> 32n) & 0xffffffffn);
}

function rootInode(now: bigint, options: MakeOptions): Uint8Array {
  const words = new Uint32Array(BLOCK_WORDS);
  const at = ROOT_INODE * INODE_WORDS;
  words[at + I_FLAGS_MODE] = (S_IFDIR | 0o755) * 65536;
  words[at + I_NLINK] = 2;
  for (const field of [I_MTIME, I_CTIME, I_ATIME, X_BIRTH]) setTime(words, at + field, now);
  words[at + I_INO] = ROOT_INODE;
  words[at + I_UID] = options.uid ?? 0;
  words[at + I_GID] = options.gid ?? 0;
  words[at + I_GENERATION] = 1;
  words[at + I_PARENT] = ROOT_INODE;
  words[at + X_STATE] = INODE_IN_USE;
  return new Uint8Array(words.buffer);
}
