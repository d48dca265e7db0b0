// SPDX-License-Identifier: BSD-3-Clause

/**
 * What a file system is to the server.
 *
 * A file system is loaded once in the mount worker, where `mount` runs, and once in every ZT, where `attach` gives the
 * object whose methods serve operations. The instances live in different V8 isolates: all they share is the memory of
 * the mount (pmem, or memory in its place) and the `SharedArrayBuffer` that `mount` returned.
 */

import type { Addon } from '../native/addon.ts';

/** 0, or a negative errno: what goes to `hdr.err`. */
export type Errno = number;

/**
 * One operation, as its handler sees it. The same object serves every operation of a ZT, so a handler keeps nothing
 * of it. Field offsets come from `server/abi/layout.ts`; a field of the command lies at `base + offset`.
 */
export interface Operation {
  /** The shared command buffer, in four views over the same bytes. */
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  /** Address of the command buffer, for the addon's copies. */
  readonly address: number;
  /** Byte offset of this command's header in the buffer; a multiple of 8, and not 0 only for a command that rode behind another. */
  base: number;
  /** Address and view of the zero-copy window: only bytes [hdr.offset, hdr.offset + hdr.len) may be touched. */
  readonly window: Uint8Array;
  readonly windowAddress: number;
}

/** The memory of a mount: its T1 devices as one flat range. */
export interface MountMemory {
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  /** NUMA ranges in order, covering all of `length`. */
  readonly nodes: readonly { readonly node: number; readonly offset: number; readonly length: number }[];
}

/** What there is to know of the server itself. */
export interface ServerFacts {
  /** CPU, its NUMA node, and channel of each ZT, in order of their numbers; those of CPUs that are offline too. */
  readonly zts: readonly { readonly cpu: number; readonly node: number; readonly channel: number }[];
  /** Counts and latencies of operations: a block a ZT (server/zt/statistics.ts). */
  readonly statistics: SharedArrayBuffer;
}

export interface MountRequest {
  readonly addon: Addon;
  readonly memory: MountMemory;
  /** Number of this mount in the server, 0..255: cookies are `slot * 2^40 + inode index`. */
  readonly slot: number;
  /** Mount options as text, comma separated; options of the VFS are not among them. */
  readonly options: string;
  readonly readOnly: boolean;
  /** Possible CPUs, and the node of each. */
  readonly cpuNodes: readonly number[];
  readonly log: (level: 'error' | 'warn' | 'info' | 'debug', message: string) => void;
  /** Not there in tests that call `mount` themselves. */
  readonly server?: ServerFacts;
  /** For a mount that has much to read, if the file system has a `help`. */
  readonly helpers?: Helpers;
}

/** Threads that share in what a mount has to do. */
export interface Helpers {
  /**
   * Call `help` of the file system in several threads, each for its part of `things`; the caller sleeps meanwhile. False: they
   * are too few for that to pay, and nothing was done. Throws `MountError` when one of them failed.
   */
  run(things: number, memory: MountMemory, shared: SharedArrayBuffer): boolean;
}

export interface HelpRequest {
  readonly addon: Addon;
  readonly memory: MountMemory;
  readonly shared: SharedArrayBuffer;
  /** Which of how many parts this thread does. */
  readonly part: number;
  readonly parts: number;
  readonly log: MountRequest['log'];
}

export interface TickRequest {
  readonly addon: Addon;
  readonly memory: MountMemory;
  readonly shared: SharedArrayBuffer;
  readonly server: ServerFacts;
}

export interface MountResult {
  /** Cookie of the root inode. */
  readonly rootCookie: number;
  /** Pool-0 dpp (byte offset) of the root's zus_inode. */
  readonly rootInode: number;
  /** ZUFS_FSC_* */
  readonly capabilities: number;
  /** State shared with every ZT that attaches. */
  readonly shared: SharedArrayBuffer;
}

export interface AttachRequest {
  readonly addon: Addon;
  readonly memory: MountMemory;
  readonly slot: number;
  readonly shared: SharedArrayBuffer;
  /** CPU that the attaching ZT serves, and its node. */
  readonly cpu: number;
  readonly node: number;
  /** Channel on that CPU. */
  readonly channel: number;
  /** The number of this ZT, 0 .. ztCount-1, unique in the server while it runs. */
  readonly zt: number;
  /** Not there in tests that call `attach` themselves. */
  readonly server?: ServerFacts;
  /** For what is found while operations are served; not for each of them. */
  readonly log?: MountRequest['log'];
}

/**
 * A mounted file system in one ZT. Each method reads the command at `op.base`, does it, writes the out fields and
 * returns 0 or -errno. None of them throws, and none allocates on the JavaScript heap.
 */
export interface MountedFileSystem {
  statfs(op: Operation): Errno;
  showOptions(op: Operation): Errno;
  /** To mounts that answered ZUFS_FSC_QUOTA; -EOPNOTSUPP from types without quotas. */
  quota(op: Operation): Errno;
  newInode(op: Operation): Errno;
  freeInode(op: Operation): Errno;
  evictInode(op: Operation): Errno;
  lookup(op: Operation): Errno;
  addDentry(op: Operation): Errno;
  removeDentry(op: Operation): Errno;
  rename(op: Operation): Errno;
  readdir(op: Operation): Errno;
  clone(op: Operation): Errno;
  copy(op: Operation): Errno;
  read(op: Operation): Errno;
  preRead(op: Operation): Errno;
  write(op: Operation): Errno;
  mmapClose(op: Operation): Errno;
  setattr(op: Operation): Errno;
  sync(op: Operation): Errno;
  fallocate(op: Operation): Errno;
  llseek(op: Operation): Errno;
  ioctl(op: Operation): Errno;
  xattrGet(op: Operation): Errno;
  xattrSet(op: Operation): Errno;
  xattrList(op: Operation): Errno;
  /** With FIEMAP_FLAG_XATTR in `flags` the extents of the attributes, which may have none. */
  fiemap(op: Operation): Errno;
  getMulty(op: Operation): Errno;
  putMulty(op: Operation): Errno;
}

/** What `register_fs_info` says of a type. */
export interface FsInfo {
  /** Type name of mount(2), at most 15 bytes. */
  readonly name: string;
  readonly magic: number;
  readonly versionMajor: number;
  readonly versionMinor: number;
  /** Byte on each device where its device table lies; null for a type without devices. */
  readonly deviceTableOffset: number | null;
  /** Largest file size in bytes. */
  readonly maxFileSize: number;
  /** Granularity of times in nanoseconds. */
  readonly timeGranularity: number;
  /** Feature bits announced (server/abi/zufs-abi.md, "What we add"). */
  readonly features: number;
}

/** Thrown by `mount`, `remount`: the errno goes to the caller of mount(2), the message to the log. */
export class MountError extends Error {
  readonly errno: number;
  constructor(errno: number, message: string) {
    super(message);
    this.name = 'MountError';
    this.errno = errno;
  }
}

export interface FileSystem {
  readonly info: FsInfo;
  /** Mount worker: read, check and recover the media, build shared state. Throws `MountError`. */
  mount(request: MountRequest): MountResult;
  /** Mount worker: all ZTs are quiet for this mount; leave the media clean. */
  unmount(request: MountRequest, shared: SharedArrayBuffer): void;
  /** Mount worker: read-only or back, new options. Throws `MountError`. */
  remount(request: MountRequest, shared: SharedArrayBuffer): void;
  /** ZT: take part in a mount that the mount worker made. */
  attach(request: AttachRequest): MountedFileSystem;
  /**
   * Make an empty file system in zeroed memory, as mkfs does on devices: each ZT tries its handlers on one before the
   * first mount, so that they are compiled when it comes. Without it nothing is tried.
   */
  formatScratch?(addon: Addon, memory: MountMemory): void;
  /** A helper thread of a mount: do a part of what `Helpers.run` asked for. */
  help?(request: HelpRequest): void;
  /** Main thread, once a second while mounted: for what has to be done beside the operations. */
  tick?(request: TickRequest): void;
}
