// SPDX-License-Identifier: BSD-3-Clause

/** What the mount worker does with the operations of ZU_IOC_MOUNT: mount, unmount, remount. */

import { FLAG, MOUNT_OP, zufs_ioc_hdr, zufs_ioc_mount } from '../abi/layout.ts';
import {
  type Errno,
  type FileSystem,
  type Helpers,
  MountError,
  type MountMemory,
  type MountRequest,
  type ServerFacts,
} from '../fs/filesystem.ts';
import type { Addon } from '../native/addon.ts';
import { EINVAL, EIO, EOPNOTSUPP } from './dispatch.ts';
import type { Log } from './log.ts';
import type { MountRegistry } from './registry.ts';

const ENOSPC = 28;
const ENODEV = 19;
const ESHUTDOWN = 108;

/** All that a ZT has to know to take part in a mount; travels between threads. */
export interface MountDescriptor {
  readonly slot: number;
  readonly generation: number;
  readonly fileSystem: string;
  readonly memory: MountMemory;
  readonly shared: SharedArrayBuffer;
}

export interface GrabbedMemory {
  readonly memory: MountMemory;
  release(): void;
}

export interface MountTableOptions {
  readonly addon: Addon;
  /** In the order of their cookies: that of the first is 1. */
  readonly fileSystems: readonly FileSystem[];
  readonly registry: MountRegistry;
  readonly cpuNodes: readonly number[];
  readonly server: ServerFacts;
  readonly log: Log;
  /** The memory of the mount with this `sb_id`. Throws `MountError`. */
  readonly grab: (sbId: number) => GrabbedMemory;
  /** Called before a mount becomes visible to the ZTs; here they start if this is the first. Throws `MountError`. */
  readonly announce: (descriptor: MountDescriptor) => void;
  readonly withdrawn: (slot: number) => void;
  /** Threads that help to mount a type. */
  readonly helpers?: (fileSystem: string) => Helpers;
}

interface Mounted {
  readonly fileSystem: FileSystem;
  readonly grabbed: GrabbedMemory;
  readonly shared: SharedArrayBuffer;
  readonly options: string;
  readonly readOnly: boolean;
}

const utf8 = new TextDecoder();

export class MountTable {
  readonly #options: MountTableOptions;
  readonly #mounts = new Map<number, Mounted>();
  #refusing = false;

  constructor(options: MountTableOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#mounts.size;
  }

  /** From now on every new mount fails with ESHUTDOWN. */
  refuseMounts(): void {
    this.#refusing = true;
  }

  /** Serve the mount operation in `page` and leave the answer there. */
  handle(page: DataView): void {
    const operation = page.getUint16(zufs_ioc_hdr.operation, true);
    let result: Errno;
    try {
      result = this.#serve(operation, page);
    } catch (error) {
      result = this.#failed(operation, error);
    }
    page.setInt32(zufs_ioc_hdr.err, result, true);
  }

  #failed(operation: number, error: unknown): Errno {
    if (error instanceof MountError) {
      this.#options.log('error', error.message, { operation: operationName(operation) });
      return -error.errno;
    }
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#options.log('error', text, { operation: operationName(operation) });
    return -EIO;
  }

  #serve(operation: number, page: DataView): Errno {
    switch (operation) {
      case MOUNT_OP.ZUFS_M_MOUNT:
        return this.#mount(page);
      case MOUNT_OP.ZUFS_M_UMOUNT:
        return this.#unmount(page);
      case MOUNT_OP.ZUFS_M_REMOUNT:
        return this.#remount(page);
      default:
        return -EOPNOTSUPP;
    }
  }

  #mount(page: DataView): Errno {
    if (this.#refusing) throw new MountError(ESHUTDOWN, 'mount refused: the server is stopping');
    const cookie = u64(page, zufs_ioc_mount.zmi_zus_zfi);
    const fileSystem = this.#options.fileSystems[cookie - 1];
    if (fileSystem === undefined) throw new MountError(ENODEV, `mount of unknown type ${cookie}`);
    const slot = this.#options.registry.freeSlot();
    if (slot === null) throw new MountError(ENOSPC, 'mount refused: 256 file systems are mounted');

    const grabbed = this.#options.grab(u64(page, zufs_ioc_mount.zmi_sb_id));
    try {
      this.#mountOn(page, fileSystem, slot, grabbed);
    } catch (error) {
      grabbed.release();
      throw error;
    }
    return 0;
  }

  #mountOn(page: DataView, fileSystem: FileSystem, slot: number, grabbed: GrabbedMemory): void {
    const { registry, announce, log } = this.#options;
    const options = optionsOf(page);
    const readOnly = willBeReadOnly(page);
    const request = this.#request(slot, { fileSystem, grabbed, options, readOnly });
    const result = fileSystem.mount(request);
    const generation = registry.nextGeneration();
    const { name } = fileSystem.info;
    try {
      announce({ slot, generation, fileSystem: name, memory: grabbed.memory, shared: result.shared });
    } catch (error) {
      fileSystem.unmount(request, result.shared);
      throw error;
    }
    this.#mounts.set(slot, { fileSystem, grabbed, shared: result.shared, options, readOnly });
    registry.publish(slot, generation);

    setU64(page, zufs_ioc_mount.zmi_zus_sbi, slot + 1);
    setU64(page, zufs_ioc_mount.zmi_zus_ii, result.rootCookie);
    setU64(page, zufs_ioc_mount.zmi__zi, result.rootInode);
    page.setUint32(zufs_ioc_mount.zmi_fs_caps, result.capabilities, true);
    page.setUint32(zufs_ioc_mount.zmi_s_blocksize_bits, 12, true);
    log('info', 'mounted', { fs: name, slot, bytes: grabbed.memory.length, readOnly, options });
  }

  #unmount(page: DataView): Errno {
    const slot = slotOf(page);
    const mounted = this.#mounts.get(slot);
    if (mounted === undefined) throw new MountError(EINVAL, `unmount of unknown mount ${slot + 1}`);
    // Whatever comes of it, the kernel is done with this mount: its slot and memory are free afterwards.
    this.#mounts.delete(slot);
    this.#options.registry.withdraw(slot);
    try {
      mounted.fileSystem.unmount(this.#request(slot, mounted), mounted.shared);
    } finally {
      mounted.grabbed.release();
      this.#options.withdrawn(slot);
    }
    this.#options.log('info', 'unmounted', { fs: mounted.fileSystem.info.name, slot });
    return 0;
  }

  #remount(page: DataView): Errno {
    const slot = slotOf(page);
    const mounted = this.#mounts.get(slot);
    if (mounted === undefined) throw new MountError(EINVAL, `remount of unknown mount ${slot + 1}`);
    const changed = { ...mounted, options: optionsOf(page), readOnly: willBeReadOnly(page) };
    mounted.fileSystem.remount(this.#request(slot, changed), mounted.shared);
    this.#mounts.set(slot, changed);
    const { readOnly, options } = changed;
    this.#options.log('info', 'remounted', { fs: mounted.fileSystem.info.name, slot, readOnly, options });
    return 0;
  }

  #request(slot: number, mount: Omit<Mounted, 'shared'>): MountRequest {
    const { addon, cpuNodes, server, log, helpers } = this.#options;
    const name = mount.fileSystem.info.name;
    const help =
      mount.fileSystem.help === undefined || helpers === undefined ? {} : { helpers: helpers(name) };
    return {
      addon,
      memory: mount.grabbed.memory,
      slot,
      options: mount.options,
      readOnly: mount.readOnly,
      cpuNodes,
      server,
      log: (level, message) => log(level, message, { fs: name, slot }),
      ...help,
    };
  }
}

export function operationName(operation: number): string {
  const found = Object.entries(MOUNT_OP).find(([, value]) => value === operation);
  return found?.[0].replace('ZUFS_M_', '').toLowerCase() ?? `operation ${operation}`;
}

function slotOf(page: DataView): number {
  return u64(page, zufs_ioc_mount.zmi_zus_sbi) - 1;
}

function willBeReadOnly(page: DataView): boolean {
  return (page.getUint32(zufs_ioc_mount.zmi_remount_flags, true) & FLAG.ZUFS_REM_WILL_RO) !== 0;
}

function optionsOf(page: DataView): string {
  const start = zufs_ioc_mount.zmi_po_mount_options;
  const room = page.byteLength - start;
  const length = Math.min(page.getUint32(zufs_ioc_mount.zmi_po_mount_options_len, true), room);

  return utf8.decode(new Uint8Array(page.buffer, page.byteOffset + start, length));
}

export function u64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
}

export function setU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % 2 ** 32, true);
  view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
}
