// SPDX-License-Identifier: BSD-3-Clause

import { CONST, FLAG } from '../../abi/layout.ts';
import { type HelpRequest, MountError, type MountRequest, type MountResult } from '../filesystem.ts';
import { Core } from './core.ts';
import { decodeDeviceTable } from './device-table.ts';
import { EROFS, EUCLEAN } from './errno.ts';
import {
  BLOCK_SIZE,
  BLOCK_WORDS,
  DEVICE_TABLE_BLOCK,
  I_NLINK,
  INODE_IN_USE,
  INODES_PER_BLOCK,
  JOURNAL_FIRST_BLOCK,
  JOURNAL_SLOT_BLOCKS,
  S_IFDIR,
  S_IFMT,
  SB_MOUNTS,
  SB_SAVED_BLOCK,
  SB_SAVED_WORDS,
  SB_STATE,
  STATE_CLEAN,
  STATE_IN_USE,
  SUPER_BLOCK,
  X_STATE,
} from './format.ts';
import { slotWord } from './inodes.ts';
import { countTransactions, replayJournal } from './journal.ts';
import { Lifecycle } from './lifecycle.ts';
import { type MountOptions, parseOptions, showOptions } from './mount-options.ts';
import { Pmem } from './pmem.ts';
import { startQuotas, stopQuotas } from './quota-mount.ts';
import { QUOTA_TABLE_BYTES } from './quota-table.ts';
import { loadAllocator, saveAllocator } from './saved.ts';
import { Scanner } from './scan.ts';
import {
  CHUNK_BLOCKS,
  CHUNK_SHIFT,
  CHUNK_SMALL,
  FLAG_READ_ONLY,
  FLAG_SHUTDOWN,
  GROUP_SHIFT,
  H_DAMAGED,
  H_FREE_BLOCKS,
  H_FREE_INODES,
  H_FSID,
  H_HASH_SEED,
  H_INODE_BLOCKS,
  H_JOURNAL_FIRST,
  H_JOURNAL_SLOTS,
  H_MISCOUNTED,
  H_OPTIONS_LENGTH,
  H_ORPHANS,
  H_QUOTA_COUNTED,
  H_QUOTA_ENFORCED,
  H_RESERVE_BLOCKS,
  H_TOTAL_BLOCKS,
  H_USABLE_BLOCKS,
  REF_MAX,
  REF_METADATA_UNSEEN,
  SharedState,
} from './shared.ts';
import { decodeSuperblock, type Superblock } from './superblock.ts';

function unclean(what: string): MountError {
  return new MountError(EUCLEAN, `zpmfs: ${what}; run fsck.zpmfs`);
}

/** Read, check and recover the media, and build the state that the ZTs share. */
export function mount(request: MountRequest): MountResult {
  const options = parseOptions(request.options);
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
  const replayed = recover(pmem, superblock, request.readOnly);

  const shared = SharedState.create(pmem.blocks, addon, options.counted === 0 ? 0 : QUOTA_TABLE_BYTES);
  const { header } = shared;
  header[H_JOURNAL_FIRST] = superblock.journalFirst;
  header[H_JOURNAL_SLOTS] = superblock.journalSlots;
  header[H_HASH_SEED] = superblock.hashSeed;
  const id = new DataView(superblock.uuid.buffer, superblock.uuid.byteOffset, 16);
  header[H_FSID] = id.getUint32(0, true) ^ id.getUint32(8, true);
  header[H_FSID + 1] = id.getUint32(4, true) ^ id.getUint32(12, true);
  header[H_QUOTA_COUNTED] = options.counted;
  header[H_QUOTA_ENFORCED] = options.enforced;
  keepOptions(shared, options);
  shared.setFlag(FLAG_READ_ONLY, request.readOnly);

  const scanner = new Scanner(pmem, shared);
  const fixed = fixedBlocks(superblock, table.devices);
  const bad = scanner.readInodeTable();
  if (bad !== null) throw unclean(bad);
  const saved = wasInUse || replayed > 0 ? 'it was not unmounted' : loadAllocator(pmem, shared);
  scanner.known = saved === null;
  if (saved === null) prepareSaved(shared);
  else if (!wasInUse && pmem.load(SUPER_BLOCK, SB_SAVED_BLOCK) !== 0)
    log('warn', `zpmfs: what the last unmount saved is not used: ${saved}`);
  let fixedCount = 1;
  for (const { first, count, what } of fixed) {
    for (let block = first; block < first + count; block++)
      if (!scanner.claimMetadata(block)) throw unclean(`${what} overlaps something else`);
    fixedCount += count;
  }
  if (!scanner.claimInodeTable()) throw unclean('the inode table overlaps something else');
  const orphans = saved === null ? [] : scanAll(request, scanner, pmem, shared);
  countFree(shared, fixedCount);

  const root = superblock.rootInode;
  const rootBlock = root < header[H_INODE_BLOCKS] * INODES_PER_BLOCK ? shared.inodeBlocks[root >>> 4] : 0;
  const core = coreOf(request, shared);
  if (rootBlock === 0 || core.inodes.blockOf(root) < 0) throw unclean('the root directory is damaged');
  if ((core.mode(rootBlock, slotWord(root)) & S_IFMT) !== S_IFDIR) throw unclean('the root is no directory');

  startQuotas(core, log);
  header[H_ORPHANS] = orphans.length;
  if (!request.readOnly) {
    setState(pmem, STATE_IN_USE);
    removeOrphans(core, orphans);
  }
  log(
    'info',
    `zpmfs: mounted${wasInUse ? ' after a crash' : ''}: ${header[H_INODE_BLOCKS] * INODES_PER_BLOCK - 1 - header[H_FREE_INODES]} inodes, ${header[H_FREE_BLOCKS]} of ${pmem.blocks} blocks free` +
      (replayed + orphans.length > 0
        ? `, ${replayed} transactions replayed, ${orphans.length} orphans ${request.readOnly ? 'left' : 'removed'}`
        : ''),
  );
  return {
    rootCookie: request.slot * 2 ** 40 + root,
    rootInode: rootBlock * BLOCK_SIZE + slotWord(root) * 4,
    capabilities: FLAG.ZUFS_FSC_ACL_ON | (options.counted === 0 ? 0 : FLAG.ZUFS_FSC_QUOTA),
    shared: shared.buffer,
  };
}

/** For SHOW_OPTIONS. */
function keepOptions(shared: SharedState, options: MountOptions): void {
  const written = new TextEncoder().encodeInto(showOptions(options), shared.options).written;
  shared.header[H_OPTIONS_LENGTH] = written;
}

/** Look at all inodes, in several threads when there are many. Returns those without a name. */
function scanAll(
  request: MountRequest,
  scanner: Scanner,
  pmem: Pmem,
  shared: SharedState,
): readonly number[] {
  const { header } = shared;
  const tables = header[H_INODE_BLOCKS];
  if (request.helpers?.run(tables * INODES_PER_BLOCK, request.memory, shared.buffer) === true)
    return header[H_ORPHANS] > 0 ? findOrphans(pmem, shared) : [];
  scanner.scanInodes(0, tables);
  logDamage(scanner, request.log);
  return scanner.orphans;
}

/** A thread's part of `scanAll`. */
export function help({ addon, memory, shared: buffer, part, parts, log }: HelpRequest): void {
  const shared = new SharedState(buffer, addon);
  const { header } = shared;
  const scanner = new Scanner(new Pmem(addon, memory.address, header[H_TOTAL_BLOCKS] * BLOCK_SIZE), shared);
  const tables = header[H_INODE_BLOCKS];
  scanner.scanInodes(Math.floor((tables * part) / parts), Math.floor((tables * (part + 1)) / parts));
  logDamage(scanner, log);
  Atomics.add(header, H_ORPHANS, scanner.orphans.length);
}

function logDamage(scanner: Scanner, log: MountRequest['log']): void {
  for (const { index, what } of scanner.damaged) log('error', `zpmfs: inode ${index} is damaged: ${what}`);
}

/** What has to be done after a crash before anything is read. Returns how many transactions were replayed. */
function recover(pmem: Pmem, superblock: Superblock, readOnly: boolean): number {
  const { journalFirst, journalSlots } = superblock;
  if (readOnly) {
    // The kernel reads inodes straight from the media: there is no reading around a journal.
    if (countTransactions(pmem, journalFirst, journalSlots) === 0) return 0;
    throw new MountError(
      EROFS,
      'zpmfs: the journal has to be replayed first: mount it read-write, or run fsck.zpmfs -y',
    );
  }
  const replayed = replayJournal(pmem, journalFirst, journalSlots);
  if (replayed < 0) throw unclean('the journal holds a transaction that leads outside of the file system');
  return replayed;
}

interface FixedBlocks {
  readonly first: number;
  readonly count: number;
  readonly what: string;
}

/** Blocks that mkfs laid out, but for block 0. */
function fixedBlocks(superblock: Superblock, devices: readonly { readonly blocks: number }[]): FixedBlocks[] {
  const fixed: FixedBlocks[] = [{ first: 1, count: JOURNAL_FIRST_BLOCK - 1, what: 'superblock' }];
  let start = 0;
  for (const device of devices) {
    if (start > 0 && start < superblock.totalBlocks)
      fixed.push({ first: start, count: 1, what: 'device table' });
    start += device.blocks;
  }
  const { journalFirst, journalSlots } = superblock;
  fixed.push({ first: journalFirst, count: journalSlots * JOURNAL_SLOT_BLOCKS, what: 'journal' });
  return fixed;
}

/** Nobody has looked at what the saved references say is metadata; inodes that are free need no look. */
function prepareSaved(shared: SharedState): void {
  const { refs, header } = shared;
  shared.forEachUsed((block) => {
    if (refs[block] > REF_MAX) refs[block] = REF_METADATA_UNSEEN;
  });
  let free = 0;
  for (let table = 0; table < header[H_INODE_BLOCKS]; table++) {
    const taken = shared.inodeBits[table] | (table === 0 ? 1 : 0);
    shared.inodeBits[table] = taken;
    shared.inodeChecked[table] = ~taken & 0xffff;
    for (let bits = ~taken & 0xffff; bits !== 0; bits &= bits - 1) free++;
  }
  header[H_FREE_INODES] = free;
}

/** The allocator's counts and bits, from the references that the scan found. */
function countFree(shared: SharedState, fixed: number): void {
  const { taken, chunkFree, groupFree, chunkKind, chunks } = shared;
  const total = shared.refs.length;
  const take = (block: number): void => {
    taken[block >>> 5] |= 1 << (block & 31);
    chunkFree[block >>> CHUNK_SHIFT]--;
  };
  chunkFree.fill(CHUNK_BLOCKS);
  take(0);
  shared.forEachUsed((block) => {
    if (block > 0) take(block);
  });
  for (let block = total; block < chunks * CHUNK_BLOCKS; block++) take(block);
  let free = 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    free += chunkFree[chunk];
    groupFree[chunk >>> GROUP_SHIFT] += chunkFree[chunk];
    if (chunkFree[chunk] < CHUNK_BLOCKS) chunkKind[chunk] = CHUNK_SMALL;
  }
  const usable = total - fixed;
  shared.header[H_FREE_BLOCKS] = free;
  shared.header[H_USABLE_BLOCKS] = usable;
  shared.header[H_RESERVE_BLOCKS] = Math.max(16, Math.min(1024, Math.floor(usable / 512)));
}

/** Files that were open without a name when the server, or the machine, went down. */
function removeOrphans(core: Core, orphans: readonly number[]): void {
  const lifecycle = new Lifecycle(core);
  for (const index of orphans) {
    const ib = core.inodes.blockOf(index);
    if (ib > 0) lifecycle.release(index, ib);
  }
}

/** What a read-only mount left in the way of orphans, now that it may write. */
function findOrphans(pmem: Pmem, shared: SharedState): number[] {
  const orphans: number[] = [];
  const inodes = shared.header[H_INODE_BLOCKS] * INODES_PER_BLOCK;
  for (let index = 1; index < inodes; index++) {
    const ib = shared.inodeBlocks[index >>> 4];
    const isUsed = pmem.load(ib, slotWord(index) + X_STATE) === INODE_IN_USE;
    if (isUsed && pmem.load(ib, slotWord(index) + I_NLINK) === 0) orphans.push(index);
  }
  return orphans;
}

const NOTHING_SAVED = { block: 0, words: 0 };

function setState(pmem: Pmem, state: number, saved = NOTHING_SAVED): void {
  if (pmem.load(SUPER_BLOCK, SB_STATE) === state) return;
  if (state === STATE_IN_USE) {
    pmem.store(SUPER_BLOCK, SB_STATE, state);
    pmem.writeBack(SUPER_BLOCK, SB_STATE * 4, 4);
    pmem.fence();
    pmem.store(SUPER_BLOCK, SB_MOUNTS, (pmem.load(SUPER_BLOCK, SB_MOUNTS) + 1) >>> 0);
  } else {
    pmem.store(SUPER_BLOCK, SB_SAVED_BLOCK, saved.block);
    pmem.store(SUPER_BLOCK, SB_SAVED_WORDS, saved.words);
    pmem.writeBack(SUPER_BLOCK, SB_STATE * 4, 16);
    pmem.fence();
    pmem.store(SUPER_BLOCK, SB_STATE, state);
  }
  pmem.writeBack(SUPER_BLOCK, SB_STATE * 4, 8);
  pmem.fence();
}

/** The file system's own part of the memory, whose size the state of the mount knows. */
function pmemOf(request: MountRequest, shared: SharedState): Pmem {
  return new Pmem(request.addon, request.memory.address, shared.header[H_TOTAL_BLOCKS] * BLOCK_SIZE);
}

function coreOf({ addon, memory, slot, log }: MountRequest, { buffer }: SharedState): Core {
  return new Core({ addon, memory, slot, shared: buffer, cpu: 0, node: 0, channel: 0, zt: 0, log });
}

/** Every operation left the media consistent; all there is to do is to say so, and what the next mount then need not find out. */
export function unmount(request: MountRequest, buffer: SharedArrayBuffer): void {
  const shared = new SharedState(buffer, request.addon);
  if (shared.flag(FLAG_READ_ONLY) || shared.flag(FLAG_SHUTDOWN)) return;
  const pmem = pmemOf(request, shared);
  if (shared.header[H_QUOTA_COUNTED] !== 0) stopQuotas(coreOf(request, shared), request.log);
  // Times that the kernel stored last are flushed when it evicts inodes, which it has done by now.
  const isSound = shared.header[H_DAMAGED] === 0 && shared.header[H_MISCOUNTED] === 0;
  setState(pmem, STATE_CLEAN, isSound ? saveAllocator(pmem, shared) : NOTHING_SAVED);
}

export function remount(request: MountRequest, buffer: SharedArrayBuffer): void {
  const options = parseOptions(request.options);
  const shared = new SharedState(buffer, request.addon);
  const { header } = shared;
  keepOptions(shared, { ...options, ...quotasStay(shared, options, request.log) });
  if (shared.flag(FLAG_READ_ONLY) === request.readOnly || shared.flag(FLAG_SHUTDOWN)) return;
  const pmem = pmemOf(request, shared);
  if (request.readOnly && header[H_QUOTA_COUNTED] !== 0) stopQuotas(coreOf(request, shared), request.log);
  setState(pmem, request.readOnly ? STATE_CLEAN : STATE_IN_USE);
  shared.setFlag(FLAG_READ_ONLY, request.readOnly);
  if (request.readOnly || header[H_ORPHANS] === 0) return;
  removeOrphans(coreOf(request, shared), findOrphans(pmem, shared));
  header[H_ORPHANS] = 0;
}

/** What is counted is so from the mount on: as with XFS, a remount takes options of quotas and leaves them as they are. */
function quotasStay(
  shared: SharedState,
  asked: MountOptions,
  log: MountRequest['log'],
): { readonly counted: number; readonly enforced: number } {
  const text = new TextDecoder().decode(shared.options.slice(0, shared.header[H_OPTIONS_LENGTH]));
  const { counted, enforced } = parseOptions(text);
  if (asked.counted !== 0 && (asked.counted !== counted || asked.enforced !== enforced))
    log('warn', 'zpmfs: a remount does not change what quotas count');
  return { counted, enforced };
}
