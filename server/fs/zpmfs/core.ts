// SPDX-License-Identifier: BSD-3-Clause

import { zufs_ioc_hdr } from '../../abi/layout.ts';
import type { AttachRequest, Operation } from '../filesystem.ts';
import { Allocator, type Arena } from './allocator.ts';
import { Directory } from './directory.ts';
import { EIO, EROFS, ESTALE } from './errno.ts';
import { BLOCK_SHIFT, BLOCK_SIZE, I_CTIME, I_MTIME, TWO_32 } from './format.ts';
import { Inodes } from './inodes.ts';
import { Journal } from './journal.ts';
import { Mapping } from './mapping.ts';
import { Pmem } from './pmem.ts';
import { Quota } from './quota.ts';
import { QuotaTable } from './quota-table.ts';
import {
  CHUNK_BLOCKS,
  FLAG_READ_ONLY,
  FLAG_SHUTDOWN,
  H_FLAGS,
  H_HASH_SEED,
  H_QUOTA_COUNTED,
  H_TOTAL_BLOCKS,
  SharedState,
} from './shared.ts';

/** What every operation of one ZT works with. */
export class Core {
  readonly pmem: Pmem;
  readonly shared: SharedState;
  readonly journal: Journal;
  readonly allocator: Allocator;
  readonly mapping: Mapping;
  readonly inodes: Inodes;
  readonly directory: Directory;
  /** null: nothing is counted for anybody. */
  readonly quota: Quota | null;
  /** This mount in a cookie: high word of `slot * 2^40`. */
  private readonly cookieHigh: number;
  private readonly clock = new Uint32Array(2);
  private readonly clockAddress: number;

  constructor(request: AttachRequest) {
    const { addon, memory } = request;
    this.shared = new SharedState(request.shared, addon);
    this.pmem = new Pmem(addon, memory.address, this.shared.header[H_TOTAL_BLOCKS] * BLOCK_SIZE);
    const zts = request.server?.zts.length ?? Number.POSITIVE_INFINITY;
    this.journal = new Journal(this.pmem, this.shared, request.zt, zts);
    this.allocator = new Allocator(this.shared, arenaOf(request, this.shared.chunks), request.log);
    this.mapping = new Mapping(this.pmem, this.journal, this.allocator);
    this.inodes = new Inodes(
      this.pmem,
      this.shared,
      this.journal,
      this.allocator,
      this.mapping,
      request.zt,
      request.log,
    );
    const { header } = this.shared;
    this.quota =
      header[H_QUOTA_COUNTED] === 0
        ? null
        : new Quota(this.pmem, this.shared, new QuotaTable(this.shared, addon));
    this.directory = new Directory(this.pmem, this.journal, this.allocator, this.quota, header[H_HASH_SEED]);
    this.cookieHigh = request.slot * 256;
    this.clockAddress = addon.addressOf(this.clock.buffer);
  }

  /** -EIO after a shutdown, -EROFS for a change on a read-only mount, else 0. */
  refuse(change: boolean): number {
    const flags = this.shared.header[H_FLAGS];
    if (flags === 0) return 0;
    if ((flags & FLAG_SHUTDOWN) !== 0) return -EIO;
    return change && (flags & FLAG_READ_ONLY) !== 0 ? -EROFS : 0;
  }

  /** The inode index in the cookie at `offset` of the command, or -ESTALE. */
  indexAt(op: Operation, offset: number): number {
    const at = (op.base + offset) >>> 2;
    return op.u32[at + 1] === this.cookieHigh ? op.u32[at] : -ESTALE;
  }

  setCookie(op: Operation, offset: number, index: number): void {
    const at = (op.base + offset) >>> 2;
    op.u32[at] = index;
    op.u32[at + 1] = this.cookieHigh;
  }

  u32(op: Operation, offset: number): number {
    return op.u32[(op.base + offset) >>> 2];
  }

  u64(op: Operation, offset: number): number {
    const at = (op.base + offset) >>> 2;
    return op.u32[at] + op.u32[at + 1] * TWO_32;
  }

  setU32(op: Operation, offset: number, value: number): void {
    op.u32[(op.base + offset) >>> 2] = value;
  }

  setU64(op: Operation, offset: number, value: number): void {
    const at = (op.base + offset) >>> 2;
    op.u32[at] = value >>> 0;
    op.u32[at + 1] = Math.floor(value / TWO_32);
  }

  windowOffset(op: Operation): number {
    return this.u32(op, zufs_ioc_hdr.offset);
  }

  windowLength(op: Operation): number {
    return this.u32(op, zufs_ioc_hdr.len);
  }

  /** Read the clock once for an operation; `timeLow` and `timeHigh` are its nanoseconds. */
  readClock(): void {
    this.pmem.addon.clockRealtimeCoarse(this.clockAddress);
  }

  get timeLow(): number {
    return this.clock[0];
  }

  get timeHigh(): number {
    return this.clock[1];
  }

  setClock(low: number, high: number): void {
    this.clock[0] = low;
    this.clock[1] = high;
  }

  /** Stage the operation's time in a time field. */
  stampTime(ib: number, word: number): void {
    this.putTime(this.journal.stageRun(ib, word, 2), 0);
  }

  /** Stage the operation's time as that of an inode's modification and of its change. */
  stampModified(ib: number, iw: number): void {
    const place = this.journal.stageRun(ib, iw + I_MTIME, 4);
    this.putTime(place, 0);
    this.putTime(place, I_CTIME - I_MTIME);
  }

  private putTime(place: number, word: number): void {
    this.journal.put(place, word, this.clock[0] | 0);
    this.journal.put(place, word + 1, this.clock[1]);
  }

  size(ib: number, iw: number): number {
    return this.journal.get(ib, iw + 2) + this.journal.get(ib, iw + 3) * TWO_32;
  }

  mode(ib: number, iw: number): number {
    return this.journal.getBits(ib, iw) >>> 16;
  }

  /** Answer with the pool-0 dpp of an inode. */
  setDpp(op: Operation, offset: number, ib: number, iw: number): void {
    const at = (op.base + offset) >>> 2;
    op.u32[at] = (ib << BLOCK_SHIFT) | (iw * 4);
    op.u32[at + 1] = ib >>> (32 - BLOCK_SHIFT);
  }
}

/** Chunks that a ZT takes from: its share of those of its node, then all of its node, then any. */
function arenaOf(request: AttachRequest, chunks: number): Arena {
  const bytes = CHUNK_BLOCKS * BLOCK_SIZE;
  const range = request.memory.nodes.filter((node) => node.node === request.node);
  // Devices of one node are neighbours, unless somebody listed them otherwise: then the first of them counts.
  const [first] = range;
  let nodeStart = first === undefined ? 0 : Math.floor(first.offset / bytes);
  let nodeEnd =
    first === undefined ? chunks : Math.min(chunks, Math.ceil((first.offset + first.length) / bytes));
  for (const { offset, length } of range) {
    if (Math.floor(offset / bytes) === nodeEnd)
      nodeEnd = Math.min(chunks, Math.ceil((offset + length) / bytes));
  }
  if (nodeStart >= nodeEnd) [nodeStart, nodeEnd] = [0, chunks];
  const zts = request.server?.zts ?? [];
  const { node, zt } = request;
  // Threads of nodes without pmem share in all of it.
  const here = zts.filter((other) => (first === undefined ? true : other.node === node));
  const number = Math.max(0, here.indexOf(zts[zt]));
  const share = Math.max(1, Math.floor((nodeEnd - nodeStart) / Math.max(1, here.length)));
  const start = Math.min(nodeStart + number * share, nodeEnd - 1);
  const end = number === here.length - 1 ? nodeEnd : Math.min(nodeEnd, start + share);
  return { start, end, nodeStart, nodeEnd };
}
