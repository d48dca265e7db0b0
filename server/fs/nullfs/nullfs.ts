// SPDX-License-Identifier: BSD-3-Clause

/**
 * nullfs: names and attributes in memory (`kit/memory-mount.ts`), data dropped, holes read. What it costs is what the
 * transport costs.
 */

import * as abi from '../../abi/layout.ts';
import type { Errno, FileSystem, Operation } from '../filesystem.ts';
import { MemoryMount, memoryFileSystem } from '../kit/memory-mount.ts';
import { readU64, writeU64 } from '../words.ts';

const { zufs_ioc_IO, FLAG } = abi;
const errno = { ENXIO: 6, ENODEV: 19, EOPNOTSUPP: 95 };
const FALLOC_KEEP_SIZE = 1;
/** FALLOC_FL_COLLAPSE_RANGE and FALLOC_FL_INSERT_RANGE. */
const FALLOC_MOVES = 8 | 32;
const SEEK_DATA = 3;
const MAGIC = 0x5a4e554c;

class NullMount extends MemoryMount {
  override read(op: Operation): Errno {
    const length = op.u32[(op.base + abi.zufs_ioc_hdr.len) >> 2];
    const offset = op.u32[(op.base + abi.zufs_ioc_hdr.offset) >> 2];
    this.memory.addon.zero(op.windowAddress + offset, length);
    writeU64(op.u32, op.base + zufs_ioc_IO.last_pos, readU64(op.u32, op.base + zufs_ioc_IO.filepos) + length);
    return 0;
  }

  override write(op: Operation): Errno {
    const end =
      readU64(op.u32, op.base + zufs_ioc_IO.filepos) + op.u32[(op.base + abi.zufs_ioc_hdr.len) >> 2];
    this.memory.growTo(this.index(op, zufs_ioc_IO.zus_ii), end);
    writeU64(op.u32, op.base + zufs_ioc_IO.last_pos, end);
    return 0;
  }

  override fallocate(op: Operation): Errno {
    const inode = this.index(op, zufs_ioc_IO.zus_ii);
    const mode = op.u32[(op.base + zufs_ioc_IO.rw) >> 2];
    if (mode === FLAG.ZUFS_FL_TRUNCATE) {
      this.memory.setSize(inode, readU64(op.u32, op.base + zufs_ioc_IO.filepos));
      return 0;
    }
    if ((mode & FALLOC_MOVES) !== 0) return -errno.EOPNOTSUPP;
    if ((mode & FALLOC_KEEP_SIZE) === 0)
      this.memory.growTo(inode, readU64(op.u32, op.base + zufs_ioc_IO.last_pos));
    return 0;
  }

  /** Everything is a hole. */
  override llseek(op: Operation): Errno {
    const { zus_ii, offset_in, whence, offset_out } = abi.zufs_ioc_seek;
    const from = readU64(op.u32, op.base + offset_in);
    if (op.u32[(op.base + whence) >> 2] === SEEK_DATA) return -errno.ENXIO;
    if (from >= this.memory.size(this.index(op, zus_ii))) return -errno.ENXIO;
    writeU64(op.u32, op.base + offset_out, from);
    return 0;
  }

  override clone(op: Operation): Errno {
    const { dst_zus_ii, pos_out, len } = abi.zufs_ioc_clone;
    const end = readU64(op.u32, op.base + pos_out) + readU64(op.u32, op.base + len);
    this.memory.growTo(this.index(op, dst_zus_ii), end);
    return 0;
  }

  override copy(op: Operation): Errno {
    return this.clone(op);
  }

  /** Holes can be mapped for reading. A page that somebody stores to would have to keep what is stored. */
  override getMulty(op: Operation): Errno {
    if ((op.u32[(op.base + zufs_ioc_IO.rw) >> 2] & FLAG.ZUFS_RW_WRITE) !== 0) return -errno.ENODEV;
    writeU64(op.u32, op.base + zufs_ioc_IO.iom_e, 0);
    op.u32[(op.base + zufs_ioc_IO.ziom_iom_n) >> 2] = 1;
    return 0;
  }

  /** Attributes are taken, and dropped like data. */
  override xattrSet = (): Errno => 0;
}

export const nullfs: FileSystem = memoryFileSystem(
  'nullfs',
  MAGIC,
  (request, info) => new NullMount(request, info),
);
