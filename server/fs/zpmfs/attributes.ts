// SPDX-License-Identifier: BSD-3-Clause

import { FLAG, zufs_ioc_ioctl } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import { ENOTTY, EOPNOTSUPP, EPERM } from './errno.ts';
import {
  I_CTIME,
  I_FLAGS_MODE,
  I_GENERATION,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  X_BIRTH,
  X_EXTENT_HINT,
  X_PROJECT,
  X_XFLAGS,
} from './format.ts';
import { InodeInHand, READS } from './in-hand.ts';
import { Label } from './label.ts';
import { FLAG_SHUTDOWN } from './shared.ts';

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_IOC_GETVERSION = 0x80087601;
const FS_IOC_SETVERSION = 0x40087602;
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
const FS_IOC_SHUTDOWN = 0x8004587d;
const FS_IOC_GETFSLABEL = 0x81009431;
const FS_IOC_SETFSLABEL = 0x41009432;
/** What statx(2) asks of: _IOR('Z', 0x20, __u64), nanoseconds since the epoch. */
const ZUFS_IOC_BIRTH_TIME = 0x80085a20;

// Flags of FS_IOC_GETFLAGS.
const FS_SYNC = 0x8;
const FS_IMMUTABLE = 0x10;
const FS_APPEND = 0x20;
const FS_NODUMP = 0x40;
const FS_NOATIME = 0x80;
const FS_DIRSYNC = 0x10000;
export const FS_PROJINHERIT = 0x20000000;
const FS_KNOWN = FS_SYNC | FS_IMMUTABLE | FS_APPEND | FS_NODUMP | FS_NOATIME | FS_DIRSYNC | FS_PROJINHERIT;
// The kernel's S_* bits in zus_inode.i_flags.
const S_SYNC = 1;
const S_NOATIME = 2;
const S_APPEND = 4;
const S_IMMUTABLE = 8;
const S_DIRSYNC = 64;
const S_KNOWN =
  S_SYNC | S_NOATIME | S_APPEND | S_IMMUTABLE | S_DIRSYNC | FLAG.ZUFS_S_IMMUTABLE | FLAG.ZUFS_S_NODUMP;

// Flags of struct fsxattr.
const XFLAG_IMMUTABLE = 0x8;
const XFLAG_APPEND = 0x10;
const XFLAG_SYNC = 0x20;
const XFLAG_NOATIME = 0x40;
const XFLAG_NODUMP = 0x80;
const XFLAG_PROJINHERIT = 0x200;
const XFLAG_EXTSIZE = 0x800;
const XFLAG_EXTSZINHERIT = 0x1000;
const XFLAG_HASATTR = 0x80000000;
const XFLAGS_KNOWN =
  XFLAG_IMMUTABLE |
  XFLAG_APPEND |
  XFLAG_SYNC |
  XFLAG_NOATIME |
  XFLAG_NODUMP |
  XFLAG_PROJINHERIT |
  XFLAG_HASATTR;
const PROJECT_QUOTA = 2;
const FSX_XFLAGS = 0;
const FSX_EXTSIZE = 4;
const FSX_NEXTENTS = 8;
const FSX_PROJECT = 12;
const FSX_COWEXTSIZE = 16;

/** The ioctls that a server answers: flags, project, generation, label, shutdown. */
export class Attributes {
  private readonly core: Core;
  private readonly inode: InodeInHand;
  private readonly label: Label;

  constructor(core: Core) {
    this.core = core;
    this.inode = new InodeInHand(core);
    this.label = new Label(core);
  }

  ioctl(op: Operation): number {
    const core = this.core;
    const opened = this.inode.open(op, zufs_ioc_ioctl.zus_ii, READS);
    if (opened < 0) return opened;
    const { ib, iw } = this.inode;
    const argument = zufs_ioc_ioctl.arg;
    switch (core.u32(op, zufs_ioc_ioctl.cmd)) {
      case FS_IOC_GETFLAGS:
        core.setU32(op, argument, this.flagsOf(ib, iw));
        return 0;
      case FS_IOC_SETFLAGS:
        return this.setFlags(op, ib, iw, core.u32(op, argument));
      case FS_IOC_GETVERSION:
        core.setU32(op, argument, core.pmem.load(ib, iw + I_GENERATION));
        return 0;
      case FS_IOC_SETVERSION:
        return this.setGeneration(op, ib, iw, core.u32(op, argument));
      case FS_IOC_FSGETXATTR:
        return this.getFsx(op, ib, iw);
      case FS_IOC_FSSETXATTR:
        return this.setFsx(op, ib, iw);
      case ZUFS_IOC_BIRTH_TIME:
        core.setU32(op, argument, core.pmem.load(ib, iw + X_BIRTH));
        core.setU32(op, argument + 4, core.pmem.load(ib, iw + X_BIRTH + 1));
        return 0;
      case FS_IOC_GETFSLABEL:
        return this.label.get(op);
      case FS_IOC_SETFSLABEL: {
        if (!this.isAdmin(op)) return -EPERM;
        const refused = core.refuse(true);
        return refused < 0 ? refused : this.label.set(op);
      }
      case FS_IOC_SHUTDOWN:
        if (!this.isAdmin(op)) return -EPERM;
        // Every operation is durable when it returns: nothing is left to write or to throw away.
        core.shared.setFlag(FLAG_SHUTDOWN, true);
        return 0;
      default:
        return -ENOTTY;
    }
  }

  private flagsOf(ib: number, iw: number): number {
    const { pmem } = this.core;
    const bits = pmem.load(ib, iw + I_FLAGS_MODE) & 0xffff;
    // Of no meaning to the kernel, so kept in our extension.
    let flags = pmem.load(ib, iw + X_XFLAGS) & FS_PROJINHERIT;
    if (bits & S_SYNC) flags |= FS_SYNC;
    if (bits & S_NOATIME) flags |= FS_NOATIME;
    if (bits & S_APPEND) flags |= FS_APPEND;
    if (bits & (S_IMMUTABLE | FLAG.ZUFS_S_IMMUTABLE)) flags |= FS_IMMUTABLE;
    if (bits & S_DIRSYNC) flags |= FS_DIRSYNC;
    if (bits & FLAG.ZUFS_S_NODUMP) flags |= FS_NODUMP;
    return flags >>> 0;
  }

  private setFlags(op: Operation, ib: number, iw: number, wanted: number): number {
    const core = this.core;
    const refused = core.refuse(true);
    if (refused < 0) return refused;
    if ((wanted & ~FS_KNOWN) !== 0) return -EOPNOTSUPP;
    const error = this.mayChange(op, ib, iw, wanted);
    if (error < 0) return error;
    core.journal.begin();
    this.stageFlags(op, ib, iw, wanted);
    core.journal.commit();
    return 0;
  }

  /** Immutable and append-only are the administrator's. */
  private mayChange(op: Operation, ib: number, iw: number, wanted: number): number {
    const changed = this.flagsOf(ib, iw) ^ wanted;
    return (changed & (FS_IMMUTABLE | FS_APPEND)) !== 0 && !this.isAdmin(op) ? -EPERM : 0;
  }

  private isAdmin(op: Operation): boolean {
    return (this.core.u32(op, zufs_ioc_ioctl.kflags) & FLAG.ZUFS_IOC_CAP_ADMIN) !== 0;
  }

  private stageFlags(op: Operation, ib: number, iw: number, wanted: number): void {
    const { journal } = this.core;
    const word = journal.get(ib, iw + I_FLAGS_MODE);
    let flags = wanted;
    if ((word >>> 28) << 12 !== S_IFDIR) flags &= ~FS_DIRSYNC;
    let bits = word & 0xffff & ~S_KNOWN;
    if (flags & FS_SYNC) bits |= S_SYNC;
    if (flags & FS_NOATIME) bits |= S_NOATIME;
    if (flags & FS_APPEND) bits |= S_APPEND;
    if (flags & FS_IMMUTABLE) bits |= S_IMMUTABLE | FLAG.ZUFS_S_IMMUTABLE;
    if (flags & FS_DIRSYNC) bits |= S_DIRSYNC;
    if (flags & FS_NODUMP) bits |= FLAG.ZUFS_S_NODUMP;
    journal.set(ib, iw + I_FLAGS_MODE, ((word & 0xffff0000) | bits) >>> 0);
    journal.set(ib, iw + X_XFLAGS, (flags & FS_PROJINHERIT) >>> 0);
    this.stampChange(op, ib, iw);
  }

  private stampChange(op: Operation, ib: number, iw: number): void {
    const core = this.core;
    core.setClock(core.u32(op, zufs_ioc_ioctl.time), core.u32(op, zufs_ioc_ioctl.time + 4));
    if (core.timeLow === 0 && core.timeHigh === 0) core.readClock();
    core.stampTime(ib, iw + I_CTIME);
  }

  private setGeneration(op: Operation, ib: number, iw: number, generation: number): number {
    const { core } = this;
    const refused = core.refuse(true);
    if (refused < 0) return refused;
    core.journal.begin();
    core.journal.set(ib, iw + I_GENERATION, generation);
    this.stampChange(op, ib, iw);
    core.journal.commit();
    return 0;
  }

  private getFsx(op: Operation, ib: number, iw: number): number {
    const core = this.core;
    const argument = zufs_ioc_ioctl.arg;
    const flags = this.flagsOf(ib, iw);
    let xflags = 0;
    if (flags & FS_IMMUTABLE) xflags |= XFLAG_IMMUTABLE;
    if (flags & FS_APPEND) xflags |= XFLAG_APPEND;
    if (flags & FS_SYNC) xflags |= XFLAG_SYNC;
    if (flags & FS_NOATIME) xflags |= XFLAG_NOATIME;
    if (flags & FS_NODUMP) xflags |= XFLAG_NODUMP;
    if (flags & FS_PROJINHERIT) xflags |= XFLAG_PROJINHERIT;
    const hint = core.pmem.load(ib, iw + X_EXTENT_HINT);
    if (hint !== 0) xflags |= (core.mode(ib, iw) & S_IFMT) === S_IFDIR ? XFLAG_EXTSZINHERIT : XFLAG_EXTSIZE;
    core.setU32(op, argument + FSX_XFLAGS, xflags >>> 0);
    core.setU32(op, argument + FSX_EXTSIZE, hint);
    core.setU32(op, argument + FSX_NEXTENTS, 0);
    core.setU32(op, argument + FSX_PROJECT, core.pmem.load(ib, iw + X_PROJECT));
    core.setU32(op, argument + FSX_COWEXTSIZE, 0);
    core.setU32(op, argument + FSX_COWEXTSIZE + 4, 0);
    core.setU32(op, argument + FSX_COWEXTSIZE + 8, 0);
    return 0;
  }

  private setFsx(op: Operation, ib: number, iw: number): number {
    const core = this.core;
    const refused = core.refuse(true);
    if (refused < 0) return refused;
    const argument = zufs_ioc_ioctl.arg;
    const xflags = core.u32(op, argument + FSX_XFLAGS);
    const hint = core.u32(op, argument + FSX_EXTSIZE);
    const type = core.mode(ib, iw) & S_IFMT;
    const hintFlag = type === S_IFDIR ? XFLAG_EXTSZINHERIT : type === S_IFREG ? XFLAG_EXTSIZE : 0;
    if ((xflags & ~(XFLAGS_KNOWN | hintFlag)) !== 0) return -EOPNOTSUPP;
    let flags = this.flagsOf(ib, iw) & FS_DIRSYNC;
    if (xflags & XFLAG_IMMUTABLE) flags |= FS_IMMUTABLE;
    if (xflags & XFLAG_APPEND) flags |= FS_APPEND;
    if (xflags & XFLAG_SYNC) flags |= FS_SYNC;
    if (xflags & XFLAG_NOATIME) flags |= FS_NOATIME;
    if (xflags & XFLAG_NODUMP) flags |= FS_NODUMP;
    if (xflags & XFLAG_PROJINHERIT) flags |= FS_PROJINHERIT;
    const error = this.mayChange(op, ib, iw, flags);
    if (error < 0) return error;
    // The owner does not change while blocks come and go.
    core.shared.lockExclusive(this.inode.index);
    const project = core.u32(op, argument + FSX_PROJECT);
    const moved = this.moveToProject(ib, iw, project | 0, this.isAdmin(op));
    if (moved === 0) {
      core.journal.begin();
      this.stageFlags(op, ib, iw, flags);
      core.journal.set(ib, iw + X_PROJECT, project);
      core.journal.set(ib, iw + X_EXTENT_HINT, (xflags & hintFlag) !== 0 ? hint : 0);
      core.journal.commit();
    }
    core.shared.unlockExclusive(this.inode.index);
    return moved;
  }

  /** Count what an inode has for another project. Returns 0 or -EDQUOT. */
  private moveToProject(ib: number, iw: number, project: number, forced: boolean): number {
    const { quota } = this.core;
    if (quota === null) return 0;
    const error = quota.takeFor(ib, iw, PROJECT_QUOTA, project, forced);
    if (error === 0) quota.leave(ib, iw, PROJECT_QUOTA, project);
    return error;
  }
}
