// SPDX-License-Identifier: BSD-3-Clause

/**
 * What the main thread writes into the memory of a mount once a second. The ZTs only ever copy it.
 *
 * The ring, little endian: at 0 `u32 magic "ZRNG"`, `u32 version 1`, `u32 size of a record 64`, `u32 records 1024`,
 * `u32 written`: how many records were written so far, the newest at `4096 + (written - 1) % 1024 * 64`. A record:
 * `u64 time` in nanoseconds since the epoch, then as u64 since the server started: operations, errors, reads, writes,
 * lookups, timed operations, nanoseconds these took. Read `written` before and after: more than 1023 in between, and
 * what was read may be newer than it should.
 */

import { OP } from '../../abi/layout.ts';
import { operationMetrics, prometheusText } from '../../zt/metrics.ts';
import { type OperationTotals, readStatistics, STATISTICS_BYTES } from '../../zt/statistics.ts';
import type { TickRequest } from '../filesystem.ts';
import { BLOCK, createTree, RING_BLOCKS, type TreeNode } from './tree.ts';

const MAGIC = 0x474e525a;
const RECORD = 64;
const RECORDS = ((RING_BLOCKS - 1) * BLOCK) / RECORD;
const NEWLINE = 0x0a;

/** Shared state: which copy of each text is shown, by inode number. */
export class Shown {
  readonly #copies: Int32Array;

  constructor(shared: SharedArrayBuffer) {
    this.#copies = new Int32Array(shared);
  }

  static bytes(nodes: number): number {
    return 4 * (nodes + 1);
  }

  get(ino: number): number {
    return Atomics.load(this.#copies, ino);
  }

  set(ino: number, copy: number): void {
    Atomics.store(this.#copies, ino, copy);
  }
}

export function render(request: TickRequest): void {
  const { addon, memory, server } = request;
  const bytes = new Uint8Array(addon.external(memory.address, memory.length));
  const shown = new Shown(request.shared);
  const all = readStatistics(server.statistics);
  for (const node of createTree(server)) {
    if (node.kind === 'ring') writeRecord(bytes, node, all);
    else if (node.kind === 'text') writeText(bytes, node, shown, textOf(node, all, server.statistics));
  }
}

function textOf(node: TreeNode, all: readonly OperationTotals[], statistics: SharedArrayBuffer): string {
  if (node.name === 'metrics.prom') return prometheusText(all);
  const totals =
    node.zt === null
      ? all
      : readStatistics(statistics.slice(node.zt * STATISTICS_BYTES, (node.zt + 1) * STATISTICS_BYTES));
  return `${JSON.stringify(operationMetrics(totals), null, 1)}\n`;
}

function writeText(bytes: Uint8Array, node: TreeNode, shown: Shown, text: string): void {
  const copy = 1 - shown.get(node.ino);
  const start = (node.first + copy * node.blocks) * BLOCK;
  const target = bytes.subarray(start, start + node.blocks * BLOCK);
  const { written } = new TextEncoder().encodeInto(text, target);
  target.fill(NEWLINE, written);
  shown.set(node.ino, copy);
}

function writeRecord(bytes: Uint8Array, node: TreeNode, all: readonly OperationTotals[]): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + node.first * BLOCK, RING_BLOCKS * BLOCK);
  const written = view.getUint32(16, true);
  const at = BLOCK + (written % RECORDS) * RECORD;
  const sum = (field: 'count' | 'errors' | 'samples' | 'nanoseconds') =>
    all.reduce((total, operation) => total + operation[field], 0);
  const values = [
    Date.now() * 1e6,
    sum('count'),
    sum('errors'),
    all[OP.ZUFS_OP_READ].count,
    all[OP.ZUFS_OP_WRITE].count,
    all[OP.ZUFS_OP_LOOKUP].count,
    sum('samples'),
    sum('nanoseconds'),
  ];
  values.forEach((value, index) => {
    view.setBigUint64(at + 8 * index, BigInt(Math.round(value)), true);
  });
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, 1, true);
  view.setUint32(8, RECORD, true);
  view.setUint32(12, RECORDS, true);
  // Last, and whole: whoever sees the count sees the record.
  Atomics.store(new Int32Array(view.buffer, view.byteOffset, 8), 4, (written + 1) | 0);
}
