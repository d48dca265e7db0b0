// SPDX-License-Identifier: BSD-3-Clause

/** The ioctls of zuf-root (server/abi/zufs-abi.md), as functions. */

import { constants } from 'node:fs';
import {
  CONST,
  IOCTL,
  md_dev_id,
  register_fs_info,
  zufs_cpu_set,
  zufs_ioc_break_all,
  zufs_ioc_hdr,
  zufs_ioc_init,
  zufs_ioc_mount,
  zufs_ioc_numa_map,
  zufs_ioc_pmem,
  zufs_ioc_register_fs,
} from '../abi/layout.ts';
import { type FsInfo, MountError, type MountMemory } from '../fs/filesystem.ts';
import type { Addon } from '../native/addon.ts';
import { COMMAND_BUFFER_SIZE } from './dispatch.ts';
import { type GrabbedMemory, setU64, u64 } from './mount-table.ts';

const PAGE = 4096;
/** O_TMPFILE without the bit of O_DIRECTORY, which node:fs has. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

export class ZufError extends Error {
  override readonly name = 'ZufError';
  /** Positive errno. */
  readonly errno: number;
  constructor(ioctl: string, errno: number) {
    super(`${ioctl}: errno ${errno}`);
    this.errno = errno;
  }
}

/** An open file of zuf-root: its first ioctl says what it is for. */
export class ZufFile {
  readonly fd: number;
  readonly #addon: Addon;

  constructor(addon: Addon, root: string) {
    this.#addon = addon;
    this.fd = addon.open(root, constants.O_RDWR | O_TMPFILE | constants.O_EXCL, 0o600);
  }

  #call(name: keyof typeof IOCTL, argument: DataView): void {
    const address = this.#addon.addressOf(argument.buffer as ArrayBuffer) + argument.byteOffset;
    const result = this.#addon.ioctl(this.fd, IOCTL[name], address);
    if (result < 0) throw new ZufError(name.replace('ZU_IOC_', ''), -result);
  }

  /** `cookie` comes back in every mount of the type. */
  registerFileSystem(info: FsInfo, cookie: number): void {
    const view = page(zufs_ioc_register_fs.SIZE);
    const rfi = zufs_ioc_register_fs.rfi;
    setU64(view, zufs_ioc_register_fs.zus_zfi, cookie);
    new TextEncoder().encodeInto(info.name, new Uint8Array(view.buffer, view.byteOffset + rfi, 15));
    view.setUint32(rfi + register_fs_info.FS_magic, info.magic, true);
    view.setUint32(rfi + register_fs_info.FS_ver_major, info.versionMajor, true);
    view.setUint32(rfi + register_fs_info.FS_ver_minor, info.versionMinor, true);
    view.setUint32(rfi + register_fs_info.notused, info.features, true);
    const offset = info.deviceTableOffset === null ? -1n : BigInt(info.deviceTableOffset);
    view.setBigInt64(rfi + register_fs_info.dt_offset, offset, true);
    setU64(view, rfi + register_fs_info.s_maxbytes, info.maxFileSize);
    view.setUint32(rfi + register_fs_info.s_time_gran, info.timeGranularity, true);
    view.setUint32(rfi + register_fs_info.def_mode, 0o755, true);
    this.#call('ZU_IOC_REGISTER_FS', view);
  }

  numaMap(): NumaMap {
    const view = page(PAGE);
    this.#call('ZU_IOC_NUMA_MAP', view);
    return parseNumaMap(view);
  }

  /** Makes this file the source of the memory of a mount, and maps it. */
  grabMemory(sbId: number): GrabbedMemory {
    const view = page(zufs_ioc_pmem.SIZE);
    setU64(view, zufs_ioc_pmem.sb_id, sbId);
    this.#call('ZU_IOC_GRAB_PMEM', view);
    const { nodes, length } = parseDevices(view);
    if (length === 0) throw new MountError(19, 'the mount has no memory');
    const address = this.#addon.mmap(this.fd, 0, length, true);
    const memory: MountMemory = { address, length, nodes };
    return { memory, release: () => this.#addon.munmap(address, length) };
  }

  /** The calling thread is bound to its CPU. */
  initThread(channel: number): void {
    const view = page(zufs_ioc_init.SIZE);
    view.setUint32(zufs_ioc_init.channel_no, channel, true);
    view.setUint32(zufs_ioc_init.max_command, COMMAND_BUFFER_SIZE, true);
    this.#call('ZU_IOC_INIT_THREAD', view);
  }

  breakAll(): void {
    this.#call('ZU_IOC_BREAK_ALL', page(zufs_ioc_break_all.SIZE));
  }

  close(): void {
    this.#addon.close(this.fd);
  }
}

export interface NumaMap {
  /** Online CPUs. */
  readonly cpus: readonly number[];
  /** Node of each possible CPU; 0 for one that is offline. */
  readonly cpuNodes: readonly number[];
}

export function parseNumaMap(view: DataView): NumaMap {
  const nodes = view.getUint32(zufs_ioc_numa_map.possible_nodes, true);
  const cpuNodes = new Array<number>(view.getUint32(zufs_ioc_numa_map.possible_cpus, true)).fill(0);
  const cpus: number[] = [];
  for (let node = 0; node < nodes; node++) {
    const set = zufs_ioc_numa_map.cpu_set_per_node + node * zufs_cpu_set.SIZE;
    for (let cpu = 0; cpu < zufs_cpu_set.SIZE * 8; cpu++) {
      if ((view.getUint8(set + (cpu >> 3)) & (1 << (cpu & 7))) === 0) continue;
      cpus.push(cpu);
      cpuNodes[cpu] = node;
    }
  }
  return { cpus: cpus.sort((a, b) => a - b), cpuNodes };
}

/** T1 devices of the table that GRAB_PMEM returned. */
export function parseDevices(view: DataView): { nodes: MountMemory['nodes']; length: number } {
  const count = view.getUint16(zufs_ioc_pmem.mdt_s_dev_list_t1_count, true);
  const nodes: { node: number; offset: number; length: number }[] = [];
  let length = 0;
  for (let index = 0; index < Math.min(count, CONST.MD_DEV_MAX); index++) {
    const at = zufs_ioc_pmem.mdt_s_dev_list_dev_ids + index * md_dev_id.SIZE + md_dev_id.blocks;
    const node = view.getUint8(at + 7) >> 4;
    const blocks = view.getUint32(at, true) + (view.getUint32(at + 4, true) & 0x0fffffff) * 2 ** 32;
    nodes.push({ node, offset: length, length: blocks * PAGE });
    length += blocks * PAGE;
  }
  const total = u64(view, zufs_ioc_pmem.mdt_s_t1_blocks) * PAGE;
  if (total !== length)
    throw new MountError(117, `the device table has ${total} bytes of T1, its devices ${length}`);
  return { nodes, length };
}

/** True when the mount thread was told to leave. BREAK and M_MOUNT have the same number; only a break is so short. */
export function isMountBreak(view: DataView): boolean {
  return view.getUint16(zufs_ioc_hdr.in_len, true) < zufs_ioc_mount.SIZE;
}

/** Memory for an ioctl argument; its address stays the same. */
function page(bytes: number): DataView {
  // A buffer of its own, off the JavaScript heap: small typed arrays move when garbage is collected.
  return new DataView(new ArrayBuffer(Math.max(bytes, PAGE)));
}
