// SPDX-License-Identifier: BSD-3-Clause

/** What every call on a mount of the fake kernel goes through: the caches of inodes and names, and commands sent. */

import { OP, zufs_ioc_evict_inode, zufs_ioc_IO, zus_inode } from '../abi/layout.ts';
import { type Command, KernelError, type Name } from './fake-command.ts';
import { FakeInode } from './fake-inode.ts';
import type { DirectoryLocks } from './fake-locks.ts';
import type { PlayedKernel } from './played-kernel.ts';

export const errno = {
  ENOENT: 2,
  EIO: 5,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENOSPC: 28,
  EROFS: 30,
};

export interface MountState {
  readonly superBlock: number;
  readonly root: { readonly cookie: number; readonly dpp: number };
  readonly capabilities: number;
  readonly readOnly: boolean;
}

/** What a path or an inode in hand may stand for. */
export type Target = string | FakeInode;

export class MountSession {
  readonly root: FakeInode;
  readonly superBlock: number;
  /** ZUFS_FSC_* that the mount answered. */
  readonly capabilities: number;
  /** Time of what the kernel stamps; CLOCK_REALTIME unless a test sets it. */
  now: () => bigint = () => BigInt(Date.now()) * 1_000_000n;
  /** What the mount answered. */
  readonly state: MountState;
  protected readonly kernel: PlayedKernel;
  protected readonly inodeCache = new Map<number, FakeInode>();
  protected readonly dentryCache = new Map<number, Map<string, FakeInode>>();
  protected isReadOnly: boolean;
  /** Set when other threads work in the same directories. */
  locks: DirectoryLocks | null = null;

  constructor(kernel: PlayedKernel, state: MountState) {
    this.kernel = kernel;
    this.state = state;
    this.superBlock = state.superBlock;
    this.capabilities = state.capabilities;
    this.isReadOnly = state.readOnly;
    this.root = this.remember(state.root.cookie, state.root.dpp);
    if (!this.root.isDirectory) throw new KernelError(errno.ENOTDIR, 'the root is no directory');
  }

  protected writable(): void {
    if (this.isReadOnly) throw new KernelError(errno.EROFS, 'mounted read-only');
  }

  protected newCommand(
    operation: number,
    size: number,
    out: readonly [number, number],
    data?: { offset: number; length: number },
  ): Command {
    return this.kernel.command({ operation, size, out, ...(data === undefined ? {} : { data }) });
  }

  protected ioCommand(
    operation: number,
    inode: FakeInode,
    position: number,
    rw: number,
    data?: { offset: number; length: number },
    size: number = zufs_ioc_IO.SIZE,
  ): Command {
    const { ret_flags, zus_ii, filepos, rw: at, ziom_iom_max } = zufs_ioc_IO;
    const command = this.newCommand(operation, size, [ret_flags, size - ret_flags], data);
    return command.u64(zus_ii, inode.cookie).u64(filepos, position).u64(at, rw).u32(ziom_iom_max, 13);
  }

  /** Run what changes directories as the VFS does: with them locked. */
  protected changing<T>(directories: readonly FakeInode[], action: () => T): T {
    const { locks } = this;
    return locks === null
      ? action()
      : locks.changing(
          directories.map(({ cookie }) => cookie),
          action,
        );
  }

  /** Run what reads a directory. */
  protected looking<T>(directory: FakeInode, action: () => T): T {
    return this.locks === null ? action() : this.locks.looking(directory.cookie, action);
  }

  protected call(command: Command, what: string): void {
    const error = this.kernel.send(command);
    if (error < 0) throw new KernelError(-error, what);
  }

  protected remember(cookie: number, dpp: number, command?: Command): FakeInode {
    const known = this.inodeCache.get(cookie);
    if (known !== undefined && known.dpp === dpp) return known;
    const bad = (what: string) => command?.bad(what) ?? raise(what);
    if (known !== undefined) bad(`cookie ${cookie} has its zus_inode at ${dpp} and at ${known.dpp}`);
    if (dpp % 8 !== 0 || dpp === 0 || dpp + zus_inode.SIZE > this.kernel.memory.length) bad(`dpp ${dpp}`);
    const inode = new FakeInode(this.kernel.memory, cookie, dpp);
    this.inodeCache.set(cookie, inode);
    return inode;
  }

  protected freeIfUnused(inode: FakeInode): void {
    if (inode.nlink > 0 || inode.opens > 0) return;
    this.inodeCache.delete(inode.cookie);
    this.dentryCache.delete(inode.cookie);
    const command = this.newCommand(OP.ZUFS_OP_FREE_INODE, zufs_ioc_evict_inode.SIZE, [0, 0]);
    this.call(command.u64(zufs_ioc_evict_inode.zus_ii, inode.cookie), 'free inode');
  }

  protected evict(inode: FakeInode, flags: number): void {
    const { zus_ii, flags: at, SIZE } = zufs_ioc_evict_inode;
    const command = this.newCommand(OP.ZUFS_OP_EVICT_INODE, SIZE, [0, 0])
      .u64(zus_ii, inode.cookie)
      .u64(at, flags);
    this.call(command, 'evict inode');
  }

  protected enterDentry(directory: FakeInode, name: Name, inode: FakeInode): void {
    if (key(name) === '.' || key(name) === '..') return;
    const entries = this.dentryCache.get(directory.cookie) ?? new Map<string, FakeInode>();
    this.dentryCache.set(directory.cookie, entries.set(key(name), inode));
  }

  protected forgetDentry(directory: FakeInode, name: Name): void {
    this.dentryCache.get(directory.cookie)?.delete(key(name));
  }
}

function raise(what: string): never {
  throw new KernelError(5, what);
}

export function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

export function key(name: Name): string {
  return typeof name === 'string' ? name : Buffer.from(name).toString('latin1');
}
