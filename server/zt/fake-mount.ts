// SPDX-License-Identifier: BSD-3-Clause

/**
 * A mounted file system as an application of the fake kernel sees it: calls by path, an inode cache and a dentry cache
 * behind them. Everything is synchronous and throws `KernelError` with the errno that the system call would have.
 * Here: the file system as a whole, and attributes.
 */

import { constants } from 'node:fs';
import {
  FLAG,
  OP,
  statfs64,
  zufs_ioc_attr,
  zufs_ioc_ioctl,
  zufs_ioc_mount_options,
  zufs_ioc_statfs,
  zufs_ioc_sync,
  zufs_ioc_xattr,
  zus_inode,
} from '../abi/layout.ts';
import { EOPNOTSUPP } from './dispatch.ts';
import { type Command, KernelError, nameBytes } from './fake-command.ts';
import type { Stat } from './fake-inode.ts';
import { MountQuotas } from './fake-quotas.ts';
import { type Target, text } from './fake-session.ts';
import type { FakeMountOptions } from './played-kernel.ts';

export { type Extent, FALLOC } from './fake-files.ts';
export { FakeInode, type Stat } from './fake-inode.ts';
export { type DirectoryEntry, type NewInodeOptions, RENAME } from './fake-names.ts';
export { type OwnerQuota, QUOTA, type QuotaLimits } from './fake-quotas.ts';
export type { MountState, Target } from './fake-session.ts';

const { S_IFMT } = constants;

/** Bits of `zuf_attr`, as statx(2) has them. */
export const STATX = { MODE: 0x2, UID: 0x8, GID: 0x10, ATIME: 0x20, MTIME: 0x40, CTIME: 0x80 };

export class FakeMount extends MountQuotas {
  statfs(): Record<
    'type' | 'bsize' | 'blocks' | 'bfree' | 'bavail' | 'files' | 'ffree' | 'namelen' | 'frsize',
    number
  > {
    const out = zufs_ioc_statfs.statfs_out;
    const command = this.newCommand(OP.ZUFS_OP_STATFS, zufs_ioc_statfs.SIZE, [out, 120]).u64(
      24,
      this.superBlock,
    );
    this.call(command, 'statfs');
    const read = (field: number) => command.getU64(out + field);
    return {
      type: read(statfs64.f_type),
      bsize: read(statfs64.f_bsize),
      blocks: read(statfs64.f_blocks),
      bfree: read(statfs64.f_bfree),
      bavail: read(statfs64.f_bavail),
      files: read(statfs64.f_files),
      ffree: read(statfs64.f_ffree),
      namelen: read(statfs64.f_namelen),
      frsize: read(statfs64.f_frsize),
    };
  }

  showOptions(): string {
    const start = zufs_ioc_mount_options.buf;
    const command = this.kernel.command({
      operation: OP.ZUFS_OP_SHOW_OPTIONS,
      size: start,
      out: [start, 0],
      outMax: 512,
    });
    this.call(command.u64(24, this.superBlock), 'show_options');
    return text(command.bytes.subarray(command.outStart, command.outStart + command.outLength));
  }

  remount(options: FakeMountOptions): void {
    this.kernel.remountCall(this.superBlock, this.isReadOnly, options);
    this.isReadOnly = options.readOnly ?? false;
  }

  /** umount(2): evicts every inode first. Files that are still open make it EBUSY. */
  unmount(): void {
    for (const inode of this.inodeCache.values())
      if (inode.opens > 0) throw new KernelError(16, 'umount: open files');
    this.dropCaches();
    this.evict(this.root, 0);
    this.inodeCache.clear();
    this.kernel.unmountCall(this.superBlock);
  }

  /** Forget all that nobody uses, so that the next call looks it up again. */
  dropCaches(): void {
    this.dentryCache.clear();
    for (const inode of this.inodeCache.values()) {
      if (inode.opens > 0 || inode === this.root) continue;
      this.inodeCache.delete(inode.cookie);
      this.evict(inode, 0);
    }
  }

  sync(target: Target = this.root, offset = 0, length = 2 ** 52, flags = 0): void {
    const inode = this.inode(target);
    const command = this.newCommand(OP.ZUFS_OP_SYNC, zufs_ioc_sync.SIZE, [zufs_ioc_sync.write_unmapped, 8]);
    command
      .u64(zufs_ioc_sync.zus_ii, inode.cookie)
      .u64(zufs_ioc_sync.offset, offset)
      .u64(zufs_ioc_sync.length, length);
    this.call(command.u64(zufs_ioc_sync.flags, flags), 'fsync');
  }

  stat(target: Target = this.root): Stat {
    return this.inode(target).stat();
  }

  setattr(
    target: Target,
    change: { mode?: number; uid?: number; gid?: number; atime?: bigint; mtime?: bigint; flags?: number },
    forced = false,
  ): void {
    this.writable();
    const inode = this.inode(target);
    const { raw } = inode;
    if (this.hasQuotas && (change.uid !== undefined || change.gid !== undefined)) {
      const { uid, gid } = inode.stat();
      this.chownCall(inode, change.uid ?? uid, change.gid ?? gid, forced);
    }
    let mask = STATX.CTIME;
    if (change.mode !== undefined) {
      raw.setUint16(zus_inode.i_mode, (inode.mode & S_IFMT) | (change.mode & 0o7777), true);
      mask |= STATX.MODE;
    }
    if (change.uid !== undefined) {
      raw.setUint32(zus_inode.i_uid, change.uid, true);
      mask |= STATX.UID;
    }
    if (change.gid !== undefined) {
      raw.setUint32(zus_inode.i_gid, change.gid, true);
      mask |= STATX.GID;
    }
    if (change.atime !== undefined) {
      raw.setBigInt64(zus_inode.i_atime, change.atime, true);
      mask |= STATX.ATIME;
    }
    if (change.mtime !== undefined) {
      raw.setBigInt64(zus_inode.i_mtime, change.mtime, true);
      mask |= STATX.MTIME;
    }
    if (change.flags !== undefined) raw.setUint16(zus_inode.i_flags, change.flags, true);
    raw.setBigInt64(zus_inode.i_ctime, this.now(), true);
    const command = this.newCommand(OP.ZUFS_OP_SETATTR, zufs_ioc_attr.SIZE, [0, 0]).u64(
      zufs_ioc_attr.zus_ii,
      inode.cookie,
    );
    this.call(command.u32(zufs_ioc_attr.zuf_attr, mask), 'setattr');
  }

  /** chown(2); `forced`: by somebody with CAP_FOWNER, whom no quota stops. */
  chown(target: Target, uid: number, gid: number, forced = false): void {
    this.setattr(target, { uid, gid }, forced);
  }

  chmod(target: Target, mode: number): void {
    this.setattr(target, { mode });
  }

  /** Returns what came back in the argument's place. `-EZUFS_RETRY` is thrown as any other error. */
  ioctl(target: Target, cmd: number, argument: Uint8Array = new Uint8Array(8), flags = 0): Uint8Array {
    const inode = this.inode(target);
    const { zus_ii, time, cmd: at, kflags, arg } = zufs_ioc_ioctl;
    const size = arg + Math.max(8, argument.length);
    const command = this.newCommand(OP.ZUFS_OP_IOCTL, size, [arg, argument.length]);
    command.u64(zus_ii, inode.cookie).big(time, this.now()).u32(at, cmd).u32(kflags, flags);
    command.bytes.set(argument, arg);
    this.call(command, 'ioctl');
    return command.bytes.slice(arg, arg + argument.length);
  }

  getxattr(target: Target, name: string): Uint8Array {
    const size = this.#xattrGet(target, name, 0).getU32(zufs_ioc_xattr.user_buf_size);
    const command = this.#xattrGet(target, name, size);
    return this.#xattrValue(command);
  }

  /** getxattr(2) with a buffer of `room` bytes; 0 asks for the size, which is what it returns. */
  getxattrSize(target: Target, name: string, room: number): number {
    return this.#xattrGet(target, name, room).getU32(zufs_ioc_xattr.user_buf_size);
  }

  #xattrGet(target: Target, name: string, room: number): Command {
    const command = this.#xattr(OP.ZUFS_OP_XATTR_GET, target, name, new Uint8Array(0), room);
    this.call(command.u32(zufs_ioc_xattr.user_buf_size, room), `getxattr ${name}`);
    return command;
  }

  /** null removes the attribute. `flags`: XATTR_CREATE 1, XATTR_REPLACE 2. */
  setxattr(target: Target, name: string, value: Uint8Array | string | null, flags = 0): void {
    this.writable();
    const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : (value ?? new Uint8Array(0));
    const command = this.#xattr(OP.ZUFS_OP_XATTR_SET, target, name, bytes, 0);
    command.u32(zufs_ioc_xattr.flags, flags).u32(zufs_ioc_xattr.user_buf_size, bytes.length);
    if (value !== null && bytes.length === 0)
      command.view.setUint16(zufs_ioc_xattr.ioc_flags, FLAG.ZUFS_XATTR_SET_EMPTY, true);
    this.call(command, `setxattr ${name}`);
  }

  removexattr(target: Target, name: string): void {
    this.setxattr(target, name, null);
  }

  listxattr(target: Target): string[] {
    const inode = this.inode(target);
    const ask = (room: number) => {
      const { buf, user_buf_size, zus_ii, ioc_flags } = zufs_ioc_xattr;
      const command = this.kernel.command({
        operation: OP.ZUFS_OP_XATTR_LIST,
        size: buf,
        out: [user_buf_size, 4],
        outMax: 4 + room,
      });
      command.u64(zus_ii, inode.cookie).u32(user_buf_size, room);
      command.view.setUint16(ioc_flags, FLAG.ZUFS_XATTR_TRUSTED, true);
      this.call(command, 'listxattr');
      return command;
    };
    const size = ask(0).getU32(zufs_ioc_xattr.user_buf_size);
    if (size === 0) return [];
    const names = text(this.#xattrValue(ask(size)));
    if (!names.endsWith('\0')) throw new KernelError(5, 'listxattr: the last name has no NUL');
    return names.slice(0, -1).split('\0');
  }

  #xattrValue(command: Command): Uint8Array {
    const { user_buf_size, buf } = zufs_ioc_xattr;
    const size = command.getU32(user_buf_size);
    if (command.outStart + command.outLength < buf + size)
      command.bad('the value lies beyond the out region');
    return command.bytes.slice(buf, buf + size);
  }

  #xattr(operation: number, target: Target, name: string, value: Uint8Array, room: number): Command {
    const inode = this.inode(target);
    const { type, rest } = splitXattrName(name);
    const bytes = nameBytes(rest);
    const { buf, name_len, user_buf_size } = zufs_ioc_xattr;
    const size = buf + bytes.length + 1 + value.length;
    if (size > 65535 || buf + room > 65535) throw new KernelError(7, 'xattr');
    const outMax = 4 + room;
    const command = this.kernel.command({ operation, size, out: [user_buf_size, 4], outMax });
    command.u64(zufs_ioc_xattr.zus_ii, inode.cookie).u32(zufs_ioc_xattr.type, type);
    command.view.setUint16(name_len, bytes.length + 1, true);
    command.bytes.set(bytes, buf);
    command.bytes.set(value, buf + bytes.length + 1);
    return command;
  }
}

const xattrPrefixes: readonly (readonly [string, number])[] = [
  ['security.', FLAG.X_F_SECURITY],
  ['system.', FLAG.X_F_SYSTEM],
  ['trusted.', FLAG.X_F_TRUSTED],
  ['user.', FLAG.X_F_USER],
];

function splitXattrName(name: string): { type: number; rest: string } {
  const found = xattrPrefixes.find(([prefix]) => name.startsWith(prefix));
  if (found === undefined) throw new KernelError(EOPNOTSUPP, `xattr ${name}`);
  return { type: found[1], rest: name.slice(found[0].length) };
}
