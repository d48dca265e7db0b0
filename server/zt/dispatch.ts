// SPDX-License-Identifier: BSD-3-Clause

/** From the command in the shared buffer to the method of the file system that serves it. */

import { CONST, FLAG, OP, zufs_ioc_hdr, zufs_ioc_IO, zufs_ioc_new_inode } from '../abi/layout.ts';
import type { Errno, MountedFileSystem, Operation } from '../fs/filesystem.ts';
import type { Addon } from '../native/addon.ts';
import { MAX_MOUNTS, type MountRegistry } from './registry.ts';
import type { OperationStatistics } from './statistics.ts';

export const EIO = 5;
export const EINVAL = 22;
export const EOPNOTSUPP = 95;

/** Bytes of the command buffer that a ZT asks for. */
export const COMMAND_BUFFER_SIZE = 65536;
export const WINDOW_SIZE = CONST.ZUS_API_MAP_MAX_SIZE;

/** All commands but NEW_INODE start with the cookie that tells their mount. */
const COOKIE = 24;
const NEW_INODE_COOKIE = zufs_ioc_new_inode.dir_ii;

/** Views over one ZT's command buffer and window. */
export function createOperation(addon: Addon, commandAddress: number, windowAddress: number): Operation {
  const buffer = addon.external(commandAddress, COMMAND_BUFFER_SIZE);
  return {
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    u32: new Uint32Array(buffer),
    i32: new Int32Array(buffer),
    address: commandAddress,
    base: 0,
    window: new Uint8Array(addon.external(windowAddress, WINDOW_SIZE)),
    windowAddress,
  };
}

export interface DispatcherOptions {
  readonly operation: Operation;
  readonly registry: MountRegistry;
  readonly statistics: OperationStatistics;
  /** Take part in the mount that has this slot and generation. */
  readonly attach: (slot: number, generation: number) => MountedFileSystem;
  /** A handler threw, or a mount could not be attached to: a defect of the server. */
  readonly report: (message: string) => void;
}

export class Dispatcher {
  readonly #operation: Operation;
  readonly #registry: MountRegistry;
  readonly #statistics: OperationStatistics;
  readonly #attach: (slot: number, generation: number) => MountedFileSystem;
  readonly #report: (message: string) => void;
  readonly #mounts: (MountedFileSystem | null)[] = new Array(MAX_MOUNTS).fill(null);
  readonly #generations = new Int32Array(MAX_MOUNTS);

  constructor(options: DispatcherOptions) {
    this.#operation = options.operation;
    this.#registry = options.registry;
    this.#statistics = options.statistics;
    this.#attach = options.attach;
    this.#report = options.report;
  }

  /** Serve the command at the start of the buffer; afterwards its `hdr.err` is set. */
  dispatch(): void {
    const op = this.#operation;
    if ((op.u16[zufs_ioc_hdr.flags >> 1] & FLAG.ZUFS_H_HAS_PIGY_PUT) !== 0) this.#runRiders(op);
    this.#run(op, 0);
  }

  /** What rides behind the command, one behind the other, belongs to earlier operations: it comes first. */
  #runRiders(op: Operation): void {
    let base = 0;
    do {
      const length = op.u16[(base + zufs_ioc_hdr.in_len) >> 1];
      base += length;
      if (!this.#isRider(op, base, length)) return;
      this.#run(op, base);
    } while ((op.u16[(base + zufs_ioc_hdr.flags) >> 1] & FLAG.ZUFS_H_HAS_PIGY_PUT) !== 0);
  }

  /** Whether there is one at `base`, behind a command of so many bytes. */
  #isRider(op: Operation, base: number, length: number): boolean {
    if ((base & 7) !== 0 || length < zufs_ioc_hdr.SIZE || base + zufs_ioc_IO.SIZE > COMMAND_BUFFER_SIZE) {
      this.#report(`something rides behind a command of ${length} bytes`);
      return false;
    }
    const code = op.u16[(base + zufs_ioc_hdr.operation) >> 1];
    if (code === OP.ZUFS_OP_PUT_MULTY || code === OP.ZUFS_OP_FREE_INODE) return true;
    this.#report(`operation ${code} rides behind a command`);
    return false;
  }

  #run(op: Operation, base: number): void {
    op.base = base;
    const code = op.u16[(base + zufs_ioc_hdr.operation) >> 1];
    const started = this.#statistics.begin();
    let result: Errno;
    try {
      result = this.#call(op, base, code);
    } catch (error) {
      // The next operation must not suffer for a defect in this one.
      this.#report(`operation ${code} failed: ${error instanceof Error ? error.stack : String(error)}`);
      result = -EIO;
    }
    op.base = base;
    op.i32[(base + zufs_ioc_hdr.err) >> 2] = result;
    this.#statistics.end(code, result, started);
  }

  #call(op: Operation, base: number, code: number): Errno {
    if (code === OP.ZUFS_OP_NOOP) return 0;
    const mount = this.#mountOf(op, base, code);
    if (mount === null) return -EIO;
    switch (code) {
      case OP.ZUFS_OP_STATFS:
        return mount.statfs(op);
      case OP.ZUFS_OP_SHOW_OPTIONS:
        return mount.showOptions(op);
      case OP.ZUFS_OP_QUOTA:
        return mount.quota(op);
      case OP.ZUFS_OP_NEW_INODE:
        return mount.newInode(op);
      case OP.ZUFS_OP_FREE_INODE:
        return mount.freeInode(op);
      case OP.ZUFS_OP_EVICT_INODE:
        return mount.evictInode(op);
      case OP.ZUFS_OP_LOOKUP:
        return mount.lookup(op);
      case OP.ZUFS_OP_ADD_DENTRY:
        return mount.addDentry(op);
      case OP.ZUFS_OP_REMOVE_DENTRY:
        return mount.removeDentry(op);
      case OP.ZUFS_OP_RENAME:
        return mount.rename(op);
      case OP.ZUFS_OP_READDIR:
        return mount.readdir(op);
      case OP.ZUFS_OP_CLONE:
        return mount.clone(op);
      case OP.ZUFS_OP_COPY:
        return mount.copy(op);
      case OP.ZUFS_OP_READ:
        return mount.read(op);
      case OP.ZUFS_OP_PRE_READ:
        return mount.preRead(op);
      case OP.ZUFS_OP_WRITE:
        return mount.write(op);
      case OP.ZUFS_OP_MMAP_CLOSE:
        return mount.mmapClose(op);
      case OP.ZUFS_OP_SETATTR:
        return mount.setattr(op);
      case OP.ZUFS_OP_SYNC:
        return mount.sync(op);
      case OP.ZUFS_OP_FALLOCATE:
        return mount.fallocate(op);
      case OP.ZUFS_OP_LLSEEK:
        return mount.llseek(op);
      case OP.ZUFS_OP_IOCTL:
        return mount.ioctl(op);
      case OP.ZUFS_OP_XATTR_GET:
        return mount.xattrGet(op);
      case OP.ZUFS_OP_XATTR_SET:
        return mount.xattrSet(op);
      case OP.ZUFS_OP_XATTR_LIST:
        return mount.xattrList(op);
      case OP.ZUFS_OP_FIEMAP:
        return mount.fiemap(op);
      case OP.ZUFS_OP_GET_MULTY:
        return mount.getMulty(op);
      case OP.ZUFS_OP_PUT_MULTY:
        return mount.putMulty(op);
      default:
        return -EOPNOTSUPP;
    }
  }

  /** The mount that the command's cookie names, attached to first if this thread has not met it yet. */
  #mountOf(op: Operation, base: number, code: number): MountedFileSystem | null {
    let slot: number;
    if (code === OP.ZUFS_OP_STATFS || code === OP.ZUFS_OP_SHOW_OPTIONS || code === OP.ZUFS_OP_QUOTA) {
      slot = op.u32[(base + COOKIE) >> 2] - 1;
    } else {
      const at = base + (code === OP.ZUFS_OP_NEW_INODE ? NEW_INODE_COOKIE : COOKIE);
      // Cookies are slot * 2^40 + inode index.
      slot = op.u32[(at + 4) >> 2] >>> 8;
    }
    if (slot < 0 || slot >= MAX_MOUNTS) return null;
    const generation = this.#registry.generation(slot);
    if (generation !== this.#generations[slot]) this.#refresh(slot, generation);
    return this.#mounts[slot];
  }

  #refresh(slot: number, generation: number): void {
    // Whatever else went away meanwhile is let go too, so that nobody keeps an unmounted file system alive for long.
    for (let other = 0; other < MAX_MOUNTS; other++) {
      if (this.#registry.generation(other) !== this.#generations[other]) {
        this.#mounts[other] = null;
        this.#generations[other] = 0;
      }
    }
    if (generation === 0) return;
    this.#mounts[slot] = this.#attach(slot, generation);
    this.#generations[slot] = generation;
  }
}
