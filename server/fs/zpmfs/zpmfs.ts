// SPDX-License-Identifier: BSD-3-Clause

import { FLAG } from '../../abi/layout.ts';
import type { AttachRequest, FileSystem, MountedFileSystem, Operation } from '../filesystem.ts';
import { Attributes } from './attributes.ts';
import { Core } from './core.ts';
import { Data } from './data.ts';
import { EOPNOTSUPP } from './errno.ts';
import { Extents } from './extents.ts';
import { FS_MAGIC, FS_NAME, MAX_FILE_SIZE, VERSION_MAJOR, VERSION_MINOR } from './format.ts';
import { KernelBlocks } from './kernel-blocks.ts';
import { Lifecycle } from './lifecycle.ts';
import { Listing } from './listing.ts';
import { help, mount, remount, unmount } from './mount.ts';
import { Namespace } from './namespace.ts';
import { QuotaCommands } from './quota-commands.ts';
import { Rename } from './rename.ts';
import { Share } from './share.ts';
import { Space } from './space.ts';
import { Sync } from './sync.ts';
import { Xattrs } from './xattr.ts';

/** zpmfs in one ZT: operations by subject, over one core. */
export class Zpmfs implements MountedFileSystem {
  readonly core: Core;
  private readonly names: Namespace;
  private readonly renames: Rename;
  private readonly listing: Listing;
  private readonly data: Data;
  private readonly syncs: Sync;
  private readonly kernelBlocks: KernelBlocks;
  private readonly space: Space;
  private readonly extents: Extents;
  private readonly lifecycle: Lifecycle;
  private readonly sharing: Share;
  private readonly attributes: Attributes;
  private readonly xattrs: Xattrs;
  private readonly quotas: QuotaCommands | null;

  constructor(request: AttachRequest) {
    this.core = new Core(request);
    this.quotas = this.core.quota === null ? null : new QuotaCommands(this.core, this.core.quota);
    this.syncs = new Sync(this.core, this.quotas);
    this.names = new Namespace(this.core);
    this.renames = new Rename(this.core);
    this.listing = new Listing(this.core);
    this.data = new Data(this.core);
    this.kernelBlocks = new KernelBlocks(this.core, this.data);
    this.space = new Space(this.core, this.data);
    this.extents = new Extents(this.core);
    this.lifecycle = new Lifecycle(this.core);
    this.sharing = new Share(this.core, this.data);
    this.attributes = new Attributes(this.core);
    this.xattrs = new Xattrs(this.core);
  }

  statfs(op: Operation): number {
    return this.lifecycle.statfs(op);
  }

  showOptions(op: Operation): number {
    return this.lifecycle.showOptions(op);
  }

  quota(op: Operation): number {
    return this.quotas === null ? -EOPNOTSUPP : this.quotas.run(op);
  }

  newInode(op: Operation): number {
    return this.names.newInode(op);
  }

  freeInode(op: Operation): number {
    return this.lifecycle.freeInode(op);
  }

  evictInode(op: Operation): number {
    return this.lifecycle.evictInode(op);
  }

  lookup(op: Operation): number {
    return this.names.lookup(op);
  }

  addDentry(op: Operation): number {
    return this.names.addDentry(op);
  }

  removeDentry(op: Operation): number {
    return this.names.removeDentry(op);
  }

  rename(op: Operation): number {
    return this.renames.rename(op);
  }

  readdir(op: Operation): number {
    return this.listing.readdir(op);
  }

  clone(op: Operation): number {
    return this.sharing.clone(op);
  }

  copy(op: Operation): number {
    return this.sharing.copy(op);
  }

  read(op: Operation): number {
    return this.data.read(op);
  }

  /** Everything is in memory already. */
  preRead(_op: Operation): number {
    return 0;
  }

  write(op: Operation): number {
    return this.data.write(op);
  }

  mmapClose(_op: Operation): number {
    return 0;
  }

  setattr(op: Operation): number {
    return this.lifecycle.setattr(op);
  }

  sync(op: Operation): number {
    return this.syncs.sync(op);
  }

  fallocate(op: Operation): number {
    return this.space.fallocate(op);
  }

  llseek(op: Operation): number {
    return this.extents.llseek(op);
  }

  ioctl(op: Operation): number {
    return this.attributes.ioctl(op);
  }

  xattrGet(op: Operation): number {
    return this.xattrs.get(op);
  }

  xattrSet(op: Operation): number {
    return this.xattrs.set(op);
  }

  xattrList(op: Operation): number {
    return this.xattrs.list(op);
  }

  fiemap(op: Operation): number {
    return this.extents.fiemap(op);
  }

  getMulty(op: Operation): number {
    return this.kernelBlocks.getMulty(op);
  }

  putMulty(op: Operation): number {
    return this.kernelBlocks.putMulty(op);
  }
}

export const zpmfs: FileSystem = {
  info: {
    name: FS_NAME,
    magic: FS_MAGIC,
    versionMajor: VERSION_MAJOR,
    versionMinor: VERSION_MINOR,
    deviceTableOffset: 0,
    maxFileSize: MAX_FILE_SIZE,
    timeGranularity: 1,
    features: FLAG.ZUFS_FEATURE_EXTENT_CACHE | FLAG.ZUFS_FEATURE_ALLOC_AHEAD,
  },
  mount,
  unmount,
  remount,
  help,
  attach: (request) => new Zpmfs(request),
};
