// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it } from 'vitest';
import {
  CONST,
  FLAG,
  OP,
  zufs_cpu_set,
  zufs_ioc_evict_inode,
  zufs_ioc_hdr,
  zufs_ioc_IO,
  zufs_ioc_numa_map,
  zufs_ioc_pmem,
  zufs_ioc_quota,
} from '../abi/layout.ts';
import {
  type AttachRequest,
  type FileSystem,
  MountError,
  type MountedFileSystem,
  type MountRequest,
  type Operation,
} from '../fs/filesystem.ts';
import { nullfs } from '../fs/nullfs/nullfs.ts';
import { FakeKernel, KernelError } from './fake-kernel.ts';
import { operationMetrics } from './metrics.ts';
import { setU64 } from './mount-table.ts';
import { readStatistics } from './statistics.ts';
import { isMountBreak, parseDevices, parseNumaMap } from './zuf-root.ts';

const MiB = 1 << 20;

/** nullfs with some of its methods replaced, and a record of who attached. */
function altered(change: Partial<MountedFileSystem>, extra: Partial<FileSystem> = {}) {
  const attached: AttachRequest[] = [];
  const fileSystem: FileSystem = {
    ...nullfs,
    ...extra,
    attach: (request) => {
      attached.push(request);
      return Object.assign(nullfs.attach(request), change);
    },
  };
  return { fileSystem, attached };
}

function kernelWith(fileSystem: FileSystem, cpus = 1): FakeKernel {
  return new FakeKernel({
    fileSystem,
    devices: [{ node: 0, bytes: 2 * MiB }],
    cpus,
    cpuNodes: [0, 1].slice(0, cpus),
  });
}

describe('dispatch', () => {
  it('attaches each thread once a mount, at its first operation', () => {
    const { fileSystem, attached } = altered({});
    const kernel = kernelWith(fileSystem, 2);
    const fs = kernel.mount();
    expect(attached).toHaveLength(0);
    fs.create('/a');
    fs.create('/b');
    kernel.cpu = 1;
    fs.create('/c');
    expect(attached.map(({ cpu, node, zt, slot }) => ({ cpu, node, zt, slot }))).toEqual([
      { cpu: 0, node: 0, zt: 0, slot: 0 },
      { cpu: 1, node: 1, zt: 1, slot: 0 },
    ]);
    fs.unmount();
    kernel.memory.fill(0);
    kernel.mount().create('/again');
    expect(attached).toHaveLength(3);
  });

  it('answers EIO for mounts that are not there and EOPNOTSUPP for operations that are not', () => {
    const kernel = kernelWith(nullfs);
    kernel.mount();
    const send = (operation: number, cookie: number) =>
      kernel.send(kernel.command({ operation, size: zufs_ioc_evict_inode.SIZE }).u64(24, cookie));
    expect(send(OP.ZUFS_OP_EVICT_INODE, 1)).toBe(0);
    expect(send(OP.ZUFS_OP_EVICT_INODE, 7 * 2 ** 40 + 1)).toBe(-5);
    expect(send(OP.ZUFS_OP_EVICT_INODE, 2 ** 52)).toBe(-5);
    expect(send(OP.ZUFS_OP_STATFS, 0)).toBe(-5);
    expect(send(18, 1)).toBe(-95);
    expect(send(31, 0)).toBe(0);
    expect(send(400, 1)).toBe(-95);
  });

  it('finds the mount that a quota is asked of by its super block', () => {
    const asked: number[] = [];
    const { fileSystem } = altered({
      quota: (op: Operation) => {
        asked.push(op.u32[(op.base + zufs_ioc_quota.id) >> 2]);
        return -3;
      },
    });
    const fs = kernelWith(fileSystem).mount();
    expect(() => fs.getQuota(0, 5)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
    expect(asked).toEqual([5]);
    // A type without quotas.
    expect(() => kernelWith(nullfs).mount().getQuota(0, 5)).toThrow(expect.objectContaining({ errno: 95 }));
  });

  it('turns a defect of a handler into EIO and goes on', () => {
    const { fileSystem } = altered({
      sync: () => {
        throw new TypeError('a defect');
      },
    });
    const kernel = kernelWith(fileSystem);
    const fs = kernel.mount();
    expect(() => fs.sync()).toThrow(expect.objectContaining({ code: 'EIO' }));
    expect(kernel.reports).toEqual([expect.stringContaining('a defect')]);
    fs.create('/still-works');
  });

  it('does a PUT that rides behind a command first', () => {
    const calls: string[] = [];
    const { fileSystem } = altered({
      putMulty: (op: Operation) => {
        calls.push(`put at ${op.base}, file position ${op.u32[(op.base + zufs_ioc_IO.filepos) >> 2]}`);
        return 0;
      },
      sync: (op: Operation) => {
        calls.push(`sync at ${op.base}`);
        return -28;
      },
    });
    const kernel = kernelWith(fileSystem);
    const fs = kernel.mount();
    const command = kernel
      .command({ operation: OP.ZUFS_OP_SYNC, size: 64, outMax: 1024 })
      .u64(24, fs.root.cookie);
    command.view.setUint16(zufs_ioc_hdr.flags, 2, true);
    command.view.setUint16(64 + zufs_ioc_hdr.operation, OP.ZUFS_OP_PUT_MULTY, true);
    command.u64(64 + zufs_ioc_IO.zus_ii, fs.root.cookie).u64(64 + zufs_ioc_IO.filepos, 8192);
    expect(kernel.send(command)).toBe(-28);
    expect(calls).toEqual(['put at 64, file position 8192', 'sync at 0']);
    expect(kernel.reports).toEqual([]);
  });

  it('does all that rides, one behind the other, and the command last', () => {
    const calls: string[] = [];
    const note = (name: string, result: number) => (op: Operation) => {
      calls.push(`${name} at ${op.base}, inode ${op.u32[(op.base + 24) >> 2]}`);
      return result;
    };
    const { fileSystem } = altered({
      putMulty: note('put', 0),
      freeInode: note('free', -22),
      sync: note('sync', 0),
    });
    const kernel = kernelWith(fileSystem);
    const fs = kernel.mount();
    const command = kernel
      .command({ operation: OP.ZUFS_OP_SYNC, size: 64, outMax: 1024 })
      .u64(24, fs.root.cookie);
    const ride = (at: number, operation: number, size: number, cookie: number, more: boolean) => {
      command.view.setUint16(at + zufs_ioc_hdr.operation, operation, true);
      command.view.setUint16(at + zufs_ioc_hdr.in_len, size, true);
      command.view.setUint16(at + zufs_ioc_hdr.flags, more ? FLAG.ZUFS_H_HAS_PIGY_PUT : 0, true);
      command.u64(at + 24, fs.root.cookie + cookie);
    };
    const { SIZE } = zufs_ioc_evict_inode;
    command.view.setUint16(zufs_ioc_hdr.flags, FLAG.ZUFS_H_HAS_PIGY_PUT, true);
    ride(64, OP.ZUFS_OP_PUT_MULTY, zufs_ioc_IO.SIZE, 1, true);
    ride(64 + zufs_ioc_IO.SIZE, OP.ZUFS_OP_FREE_INODE, SIZE, 2, true);
    ride(64 + zufs_ioc_IO.SIZE + SIZE, OP.ZUFS_OP_FREE_INODE, SIZE, 3, false);
    expect(kernel.send(command)).toBe(0);
    const root = fs.root.cookie % 2 ** 32;
    expect(calls).toEqual([
      `put at 64, inode ${root + 1}`,
      `free at ${64 + zufs_ioc_IO.SIZE}, inode ${root + 2}`,
      `free at ${64 + zufs_ioc_IO.SIZE + SIZE}, inode ${root + 3}`,
      `sync at 0, inode ${root}`,
    ]);
    expect(kernel.reports).toEqual([]);
  });

  it('reports what rides behind a command and is none that may', () => {
    const kernel = kernelWith(nullfs);
    const fs = kernel.mount();
    const command = kernel
      .command({ operation: OP.ZUFS_OP_SYNC, size: 64, outMax: 1024 })
      .u64(24, fs.root.cookie);
    command.view.setUint16(zufs_ioc_hdr.flags, FLAG.ZUFS_H_HAS_PIGY_PUT, true);
    command.view.setUint16(64 + zufs_ioc_hdr.operation, OP.ZUFS_OP_RENAME, true);
    expect(kernel.send(command)).toBe(0);
    expect(kernel.reports).toEqual([expect.stringContaining(`operation ${OP.ZUFS_OP_RENAME} rides`)]);
  });

  it('counts and times operations', () => {
    const kernel = kernelWith(nullfs);
    const fs = kernel.mount();
    for (let i = 0; i < 100; i++) fs.statfs();
    expect(() => fs.lookup(fs.root, 'absent')).toThrow(KernelError);
    const metrics = operationMetrics(readStatistics(kernel.statistics));
    const statfs = metrics.find(({ operation }) => operation === 'statfs');
    expect(statfs).toMatchObject({ count: 100, errors: 0 });
    expect(statfs?.averageNanoseconds).toBeGreaterThan(10);
    expect(statfs?.p50).toBeLessThanOrEqual(statfs?.p999 ?? 0);
    expect(metrics.find(({ operation }) => operation === 'lookup')).toMatchObject({ count: 1, errors: 1 });
  });
});

describe('the mount table', () => {
  it('hands options and read-only to the file system', () => {
    const requests: Pick<MountRequest, 'options' | 'readOnly' | 'slot'>[] = [];
    const note = ({ options, readOnly, slot }: MountRequest) =>
      void requests.push({ options, readOnly, slot });
    const { fileSystem } = altered(
      {},
      {
        mount: (request) => {
          note(request);
          return nullfs.mount(request);
        },
        remount: note,
        unmount: note,
      },
    );
    const kernel = kernelWith(fileSystem);
    const fs = kernel.mount({ options: 'size=2M,näme=1', readOnly: true });
    fs.remount({ options: 'size=2M' });
    fs.create('/f');
    fs.unmount();
    expect(requests).toEqual([
      { options: 'size=2M,näme=1', readOnly: true, slot: 0 },
      { options: 'size=2M', readOnly: false, slot: 0 },
      { options: 'size=2M', readOnly: false, slot: 0 },
    ]);
  });

  it('passes the errno of a refused mount on, and a defect as EIO', () => {
    const failing = (error: Error) =>
      altered(
        {},
        {
          mount: () => {
            throw error;
          },
        },
      ).fileSystem;
    const code = (error: Error) => {
      try {
        kernelWith(failing(error)).mount();
        return 0;
      } catch (caught) {
        return caught instanceof KernelError ? caught.errno : -1;
      }
    };
    expect(code(new MountError(117, 'structure needs cleaning'))).toBe(117);
    expect(code(new RangeError('a defect'))).toBe(5);
  });

  it('gives a slot back whose file system fails to unmount', () => {
    const { fileSystem } = altered(
      {},
      {
        unmount: () => {
          throw new MountError(5, 'media error');
        },
      },
    );
    const kernel = kernelWith(fileSystem);
    const fs = kernel.mount();
    expect(() => fs.unmount()).toThrow(expect.objectContaining({ code: 'EIO' }));
    kernel.memory.fill(0);
    expect(kernel.mount().superBlock).toBe(1);
  });
});

describe('answers of zuf-root', () => {
  it('reads CPUs and nodes', () => {
    const view = new DataView(new ArrayBuffer(4096));
    view.setUint32(zufs_ioc_numa_map.possible_nodes, 2, true);
    view.setUint32(zufs_ioc_numa_map.possible_cpus, 4, true);
    view.setUint8(zufs_ioc_numa_map.cpu_set_per_node, 0b0101);
    view.setUint8(zufs_ioc_numa_map.cpu_set_per_node + zufs_cpu_set.SIZE, 0b1000);
    expect(parseNumaMap(view)).toEqual({ cpus: [0, 2, 3], cpuNodes: [0, 0, 0, 1] });
  });

  it('reads devices, and refuses a table that contradicts itself', () => {
    const view = new DataView(new ArrayBuffer(zufs_ioc_pmem.SIZE));
    view.setUint16(zufs_ioc_pmem.mdt_s_dev_list_t1_count, 2, true);
    setU64(view, zufs_ioc_pmem.mdt_s_t1_blocks, 1024);
    const blocks = zufs_ioc_pmem.mdt_s_dev_list_dev_ids + 16;
    view.setBigUint64(blocks, 512n, true);
    view.setBigUint64(blocks + 24, (3n << BigInt(CONST.MD_DEV_NUMA_SHIFT)) | 512n, true);
    expect(parseDevices(view)).toEqual({
      length: 4 * MiB,
      nodes: [
        { node: 0, offset: 0, length: 2 * MiB },
        { node: 3, offset: 2 * MiB, length: 2 * MiB },
      ],
    });
    setU64(view, zufs_ioc_pmem.mdt_s_t1_blocks, 1000);
    expect(() => parseDevices(view)).toThrow(MountError);
  });

  it('tells a break from a mount, which have the same number', () => {
    const view = new DataView(new ArrayBuffer(4096));
    view.setUint16(zufs_ioc_hdr.operation, 1, true);
    view.setUint16(zufs_ioc_hdr.in_len, 24, true);
    expect(isMountBreak(view)).toBe(true);
    view.setUint16(zufs_ioc_hdr.in_len, 105, true);
    expect(isMountBreak(view)).toBe(false);
  });
});
