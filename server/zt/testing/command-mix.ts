// SPDX-License-Identifier: BSD-3-Clause

/**
 * A transport that plays back a mix of commands without end, for measuring: what an application's system calls turn
 * into, with no kernel in between. Its own part allocates nothing either.
 */

import {
  FLAG,
  OP,
  zufs_ioc_attr,
  zufs_ioc_dentry,
  zufs_ioc_evict_inode,
  zufs_ioc_hdr,
  zufs_ioc_IO,
  zufs_ioc_lookup,
  zufs_ioc_new_inode,
  zufs_ioc_readdir,
  zufs_ioc_statfs,
} from '../../abi/layout.ts';
import type { Operation } from '../../fs/filesystem.ts';
import type { Addon } from '../../native/addon.ts';
import { Command, type CommandOptions } from '../fake-command.ts';
import type { FakeKernel, FakeMount } from '../fake-kernel.ts';
import type { Transport } from '../zt-loop.ts';

const TEMPLATE = 1024;
const DATA = 4096;
/** Buckets of the latency histogram: 16 to each power of two, so that a percentile is right to 6 %. */
const FINE = 16;

export class CommandMix implements Transport {
  readonly operation: Operation;
  /** Operations served, and the errors among them. */
  done = 0;
  /** How many operations there are before the one that breaks the loop. */
  limit: number;
  errors = 0;
  readonly histogram = new Uint32Array(64 * FINE);
  readonly #addon: Addon;
  readonly #templates: Uint32Array;
  readonly #templatesAddress: number;
  readonly #count: number;
  readonly #create: number;
  #next = 0;
  /** A command was handed out and its answer not looked at yet. */
  #running = false;
  #errorsAt = -1;

  /** `only`: the commands of these operations instead of all. */
  constructor(kernel: FakeKernel, fs: FakeMount, limit: number, only?: readonly number[]) {
    this.#addon = kernel.addon;
    this.limit = limit;
    this.operation = kernel.zt.operation;
    fs.mkdir('/mix');
    const directory = fs.inode('/mix').cookie;
    const file = fs.writeFile('/mix/file', new Uint8Array(64 * DATA).fill(7)).cookie;
    const data = { offset: 0, length: DATA };
    const io = (operation: number, position: number, rw: number, withData: boolean): Command =>
      this.#command({ operation, size: zufs_ioc_IO.SIZE, out: [48, 176], ...(withData ? { data } : {}) })
        .u64(zufs_ioc_IO.zus_ii, file)
        .u64(zufs_ioc_IO.filepos, position)
        .u64(zufs_ioc_IO.rw, rw)
        .u32(zufs_ioc_IO.ziom_iom_max, 13);
    const all = [
      this.#command({ operation: OP.ZUFS_OP_NOOP, size: zufs_ioc_hdr.SIZE }),
      this.#command({
        operation: OP.ZUFS_OP_LOOKUP,
        size: zufs_ioc_lookup.SIZE,
        out: [zufs_ioc_lookup._zi, 16],
      })
        .u64(zufs_ioc_lookup.dir_ii, directory)
        .name(zufs_ioc_lookup.str, 'file'),
      io(OP.ZUFS_OP_WRITE, 3 * DATA, FLAG.ZUFS_RW_WRITE, true),
      io(OP.ZUFS_OP_READ, 5 * DATA, 0, true),
      io(OP.ZUFS_OP_GET_MULTY, 6 * DATA, 0, false).u32(zufs_ioc_hdr.len, DATA),
      this.#command({ operation: OP.ZUFS_OP_READDIR, size: zufs_ioc_readdir.SIZE, out: [32, 16], data }).u64(
        zufs_ioc_readdir.dir_ii,
        directory,
      ),
      this.#command({ operation: OP.ZUFS_OP_SETATTR, size: zufs_ioc_attr.SIZE })
        .u64(zufs_ioc_attr.zus_ii, file)
        .u32(zufs_ioc_attr.zuf_attr, 0x40),
      this.#command({ operation: OP.ZUFS_OP_STATFS, size: zufs_ioc_statfs.SIZE, out: [32, 120] }).u64(
        24,
        fs.superBlock,
      ),
      // The last three belong together: what the first makes the others remove.
      this.#command({
        operation: OP.ZUFS_OP_NEW_INODE,
        size: zufs_ioc_new_inode.SIZE,
        out: [zufs_ioc_new_inode._zi, 16],
      })
        .u64(zufs_ioc_new_inode.dir_ii, directory)
        .name(zufs_ioc_new_inode.str, 'made-and-removed'),
      this.#command({ operation: OP.ZUFS_OP_REMOVE_DENTRY, size: zufs_ioc_dentry.SIZE })
        .u64(zufs_ioc_dentry.zus_dir_ii, directory)
        .name(zufs_ioc_dentry.str, 'made-and-removed'),
      this.#command({ operation: OP.ZUFS_OP_FREE_INODE, size: zufs_ioc_evict_inode.SIZE }),
    ];
    all[8].view.setUint16(zufs_ioc_new_inode.zi_i_mode, 0o100644, true);
    const commands = only === undefined ? all : all.filter(({ operation }) => only.includes(operation));
    this.#count = commands.length;
    this.#create = commands.findIndex(({ operation }) => operation === OP.ZUFS_OP_NEW_INODE);
    this.#templatesAddress = kernel.addon.mmapAnonymous(this.#count * TEMPLATE);
    const buffer = kernel.addon.external(this.#templatesAddress, this.#count * TEMPLATE);
    this.#templates = new Uint32Array(buffer);
    commands.forEach((command, index) => {
      new Uint8Array(buffer).set(command.bytes, index * TEMPLATE);
    });
  }

  #command(options: CommandOptions): Command {
    return new Command(new Uint8Array(TEMPLATE), options);
  }

  wait(): number {
    const { u32, i32, u16 } = this.operation;
    if (this.#running) this.#check(u32, i32[0]);
    this.#running = this.done !== this.limit;
    if (!this.#running) {
      u16[zufs_ioc_hdr.operation >> 1] = OP.ZUFS_OP_BREAK;
      return 0;
    }
    this.done++;
    this.#addon.copy(this.operation.address, this.#templatesAddress + this.#next * TEMPLATE, TEMPLATE);
    return 0;
  }

  #check(u32: Uint32Array, error: number): void {
    if (error !== 0) {
      this.errors++;
      this.#errorsAt = this.#next;
    }
    if (this.#next === this.#create) {
      const cookie = zufs_ioc_new_inode.zus_ii >> 2;
      for (let behind = 1; behind <= 2; behind++) {
        const at = ((this.#create + behind) * TEMPLATE + 24) >> 2;
        this.#templates[at] = u32[cookie];
        this.#templates[at + 1] = u32[cookie + 1];
      }
    }
    this.#next = this.#next + 1 === this.#count ? 0 : this.#next + 1;
  }

  /** Which command of the mix failed last; -1 when none did. */
  get failedCommand(): number {
    return this.#errorsAt;
  }
}

/** Counts a latency; the boundaries of bucket b are 2^(b/16) and 2^((b+1)/16) nanoseconds, roughly. */
export function countLatency(histogram: Uint32Array, nanoseconds: number): void {
  const whole = nanoseconds < 1 ? 1 : nanoseconds > 0x7fffffff ? 0x7fffffff : nanoseconds | 0;
  const exponent = 31 - Math.clz32(whole);
  const fraction = exponent >= 4 ? (whole >>> (exponent - 4)) & 15 : (whole << (4 - exponent)) & 15;
  histogram[exponent * FINE + fraction]++;
}

export function latencyPercentile(histogram: Uint32Array, fraction: number): number {
  const total = histogram.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (let bucket = 0; bucket < histogram.length; bucket++) {
    seen += histogram[bucket];
    if (seen >= total * fraction) return 2 ** Math.floor(bucket / FINE) * (1 + ((bucket % FINE) + 1) / FINE);
  }
  return Number.POSITIVE_INFINITY;
}
