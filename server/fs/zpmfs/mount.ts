// SPDX-License-Identifier: BSD-3-Clause

import { CONST, FLAG } from '../../abi/layout.ts';
import { MountError, type MountRequest, type MountResult } from '../filesystem.ts';
import { Core } from './core.ts';
import { decodeDeviceTable } from './device-table.ts';
import { EINVAL, EUCLEAN } from './errno.ts';
import {
  BLOCK_SIZE,
  BLOCK_WORDS,
  DEVICE_TABLE_BLOCK,
  INODES_PER_BLOCK,
  JOURNAL_FIRST_BLOCK,
  JOURNAL_SLOT_BLOCKS,
  S_IFDIR,
  S_IFMT,
  SB_MOUNTS,
  SB_STATE,
  STATE_CLEAN,
  STATE_IN_USE,
  SUPER_BLOCK,
} from './format.ts';
import { slotWord } from './inodes.ts';
import { replayJournal } from './journal.ts';
import { Lifecycle } from './lifecycle.ts';
import { Pmem } from './pmem.ts';
import { Scanner } from './scan.ts';
import {
  CHUNK_BLOCKS,
  CHUNK_SHIFT,
  CHUNK_SMALL,
  FLAG_READ_ONLY,
  FLAG_SHUTDOWN,
  GROUP_SHIFT,
  H_FREE_BLOCKS,
  H_FSID,
  H_HASH_SEED,
  H_JOURNAL_FIRST,
  H_JOURNAL_SLOTS,
  H_OPTIONS_LENGTH,
  H_RESERVE_BLOCKS,
  H_USABLE_BLOCKS,
  SharedState,
} from './shared.ts';
import { decodeSuperblock, type Superblock } from './superblock.ts';

/** Options that mean something to others and are taken without a word. */
const ACCEPTED_OPTIONS = new Set(['acl', 'user_xattr', 'dax', 'dax=always']);

function unclean(what: string): MountError {
  return new MountError(EUCLEAN, `zpmfs: ${what}; run fsck.zpmfs`);
}

function checkOptions(options: string): string {
  const kept = options.split(',').filter((option) => option !== '');
  for (const option of kept) {
    if (!ACCEPTED_OPTIONS.has(option))
      throw new MountError(EINVAL, `zpmfs: unknown mount option "${option}"`);
  }
  return kept.join(',');
}

/** Read, check and recover the media, and build the state that the ZTs share. */
export function mount(request: MountRequest): MountResult {
  const options = checkOptions(request.options);
  const { addon, memory, log } = request;
  const whole = new Pmem(addon, memory.address, memory.length);
  const table = decodeDeviceTable(whole.u8.subarray(DEVICE_TABLE_BLOCK, CONST.MDT_SIZE));
  if (typeof table === 'string') throw unclean(table);
  const superblock = decodeSuperblock(
    whole.u32.subarray(SUPER_BLOCK * BLOCK_WORDS, (SUPER_BLOCK + 1) * BLOCK_WORDS),
  );
  if (typeof superblock === 'string') throw unclean(superblock);
  // mkfs may have been told to use less than there is.
  if (superblock.totalBlocks > whole.blocks) {
    throw unclean(`superblock speaks of ${superblock.totalBlocks} blocks, the devices have ${whole.blocks}`);
  }
  const pmem = new Pmem(addon, memory.address, superblock.totalBlocks * BLOCK_SIZE);
  const wasInUse = pmem.load(SUPER_BLOCK, SB_STATE) !== STATE_CLEAN;
  const replayed = replayJournal(pmem, superblock.journalFirst, superblock.journalSlots);
  if (replayed < 0) throw unclean('the journal holds a transaction that leads outside of the file system');

  const shared = SharedState.create(pmem.blocks, addon);
  const { header } = shared;
  header[H_JOURNAL_FIRST] = superblock.journalFirst;
  header[H_JOURNAL_SLOTS] = superblock.journalSlots;
  header[H_HASH_SEED] = superblock.hashSeed;
  const id = new DataView(superblock.uuid.buffer, superblock.uuid.byteOffset, 16);
  header[H_FSID] = id.getUint32(0, true) ^ id.getUint32(8, true);
  header[H_FSID + 1] = id.getUint32(4, true) ^ id.getUint32(12, true);
  header[H_OPTIONS_LENGTH] = new TextEncoder().encodeInto(options, shared.options).written;
  shared.setFlag(FLAG_READ_ONLY, request.readOnly);

  const scanner = new Scanner(pmem, shared);
  const fixed = claimFixed(scanner, superblock, table.devices);
  const bad = scanner.scanInodeTable();
  if (bad !== null) throw unclean(bad);
  scanner.scanInodes();
  for (const { index, what } of scanner.damaged) log('error', `zpmfs: inode ${index} is damaged: ${what}`);
  countFree(shared, fixed);

  const root = superblock.rootInode;
  const rootBlock = root < header[4] * INODES_PER_BLOCK ? shared.inodeBlocks[root >>> 4] : 0;
  const core = new Core({
    addon,
    memory,
    slot: request.slot,
    shared: shared.buffer,
    cpu: 0,
    node: 0,
    channel: 0,
    zt: 0,
  });
  if (rootBlock === 0 || core.inodes.blockOf(root) < 0) throw unclean('the root directory is damaged');
  if ((core.mode(rootBlock, slotWord(root)) & S_IFMT) !== S_IFDIR) throw unclean('the root is no directory');

  removeOrphans(core, scanner);
  if (!request.readOnly) setState(pmem, STATE_IN_USE);
  log(
    'info',
    `zpmfs: mounted${wasInUse ? ' after a crash' : ''}: ${scanner.inodesUsed} inodes, ${header[H_FREE_BLOCKS]} of ${pmem.blocks} blocks free` +
      (replayed + scanner.orphans.length > 0
        ? `, ${replayed} transactions replayed, ${scanner.orphans.length} orphans removed`
        : ''),
  );
  return {
    rootCookie: request.slot * 2 ** 40 + root,
    rootInode: rootBlock * BLOCK_SIZE + slotWord(root) * 4,
    capabilities: FLAG.ZUFS_FSC_ACL_ON,
    shared: shared.buffer,
  };
}

/** Blocks that mkfs laid out. Returns how many. */
function claimFixed(
  scanner: Scanner,
  superblock: Superblock,
  devices: readonly { readonly blocks: number }[],
): number {
  let fixed = 0;
  const claim = (block: number, what: string): void => {
    if (block !== 0 && !scanner.claimMetadata(block)) throw unclean(`${what} overlaps something else`);
    fixed++;
  };
  for (let block = 1; block < JOURNAL_FIRST_BLOCK; block++) claim(block, 'superblock');
  let start = 0;
  for (const device of devices) {
    if (start < superblock.totalBlocks) claim(start, 'device table');
    start += device.blocks;
  }
  for (let block = 0; block < superblock.journalSlots * JOURNAL_SLOT_BLOCKS; block++) {
    claim(superblock.journalFirst + block, 'journal');
  }
  return fixed;
}

/** The allocator's counts and bits, from the references that the scan found. */
function countFree(shared: SharedState, fixed: number): void {
  const total = shared.refs.length;
  let free = 0;
  for (let block = 0; block < shared.chunks * CHUNK_BLOCKS; block++) {
    const isTaken = block === 0 || block >= total || shared.refs[block] !== 0;
    const chunk = block >>> CHUNK_SHIFT;
    if (isTaken) {
      shared.taken[block >>> 5] |= 1 << (block & 31);
    } else {
      shared.chunkFree[chunk]++;
      shared.groupFree[chunk >>> GROUP_SHIFT]++;
      free++;
    }
  }
  for (let chunk = 0; chunk < shared.chunks; chunk++) {
    if (shared.chunkFree[chunk] < CHUNK_BLOCKS) shared.chunkKind[chunk] = CHUNK_SMALL;
  }
  const usable = total - fixed;
  shared.header[H_FREE_BLOCKS] = free;
  shared.header[H_USABLE_BLOCKS] = usable;
  shared.header[H_RESERVE_BLOCKS] = Math.max(16, Math.min(1024, Math.floor(usable / 512)));
}

/** Files that were open without a name when the server, or the machine, went down. */
function removeOrphans(core: Core, scanner: Scanner): void {
  const lifecycle = new Lifecycle(core);
  for (const index of scanner.orphans) {
    const ib = core.inodes.blockOf(index);
    if (ib > 0) lifecycle.release(index, ib);
  }
}

function setState(pmem: Pmem, state: number): void {
  if (pmem.load(SUPER_BLOCK, SB_STATE) === state) return;
  pmem.store(SUPER_BLOCK, SB_STATE, state);
  if (state === STATE_IN_USE)
    pmem.store(SUPER_BLOCK, SB_MOUNTS, (pmem.load(SUPER_BLOCK, SB_MOUNTS) + 1) >>> 0);
  pmem.writeBack(SUPER_BLOCK, SB_STATE * 4, 64);
  pmem.fence();
}

/** Every operation left the media consistent; all there is to do is to say so. */
export function unmount(request: MountRequest, buffer: SharedArrayBuffer): void {
  const shared = new SharedState(buffer, request.addon);
  if (shared.flag(FLAG_READ_ONLY) || shared.flag(FLAG_SHUTDOWN)) return;
  const pmem = new Pmem(request.addon, request.memory.address, request.memory.length);
  // Times that the kernel stored last are flushed when it evicts inodes, which it has done by now.
  setState(pmem, STATE_CLEAN);
}

export function remount(request: MountRequest, buffer: SharedArrayBuffer): void {
  const options = checkOptions(request.options);
  const shared = new SharedState(buffer, request.addon);
  shared.header[H_OPTIONS_LENGTH] = new TextEncoder().encodeInto(options, shared.options).written;
  if (shared.flag(FLAG_READ_ONLY) !== request.readOnly) {
    const pmem = new Pmem(request.addon, request.memory.address, request.memory.length);
    setState(pmem, request.readOnly ? STATE_CLEAN : STATE_IN_USE);
    shared.setFlag(FLAG_READ_ONLY, request.readOnly);
  }
}
