// SPDX-License-Identifier: BSD-3-Clause

/** For tests of quotas: what a mount says that owners have, and the same by looking at every file. */

import { FLAG } from '../../abi/layout.ts';
import { type FakeInode, type FakeMount, KernelError } from '../../zt/fake-kernel.ts';
import { type OwnerQuota, QUOTA } from '../../zt/fake-mount.ts';

const FSGETXATTR = 0x801c581f;
const FSSETXATTR = 0x401c5820;
export const PROJINHERIT = 0x200;
export const ALL_QUOTAS = 'usrquota,grpquota,prjquota';
const BLOCK = 4096;

export function setProject(
  fs: FakeMount,
  target: string | FakeInode,
  project: number,
  { inherit = false, forced = true } = {},
): void {
  const view = new DataView(new ArrayBuffer(28));
  view.setUint32(0, inherit ? PROJINHERIT : 0, true);
  view.setUint32(12, project, true);
  fs.ioctl(target, FSSETXATTR, new Uint8Array(view.buffer), forced ? FLAG.ZUFS_IOC_CAP_ADMIN : 0);
}

export function projectOf(fs: FakeMount, target: string | FakeInode): number {
  return new DataView(fs.ioctl(target, FSGETXATTR, new Uint8Array(28)).buffer).getUint32(12, true);
}

/** All owners of a type that GET_NEXT tells. */
export function allQuotas(fs: FakeMount, type: number): OwnerQuota[] {
  const found: OwnerQuota[] = [];
  try {
    for (let id = 0; id < 2 ** 32; id = (found.at(-1)?.id ?? 0) + 1) found.push(fs.getNextQuota(type, id));
  } catch (error) {
    // ESRCH: a type that is not counted.
    if (!(error instanceof KernelError) || !['ENOENT', 'ESRCH'].includes(error.code)) throw error;
  }
  return found;
}

type Usage = Record<string, { space: number; inodes: number }>;

/** What the mount says: 'type:id' to bytes and inodes. */
export function usageTold(fs: FakeMount): Usage {
  const told: Usage = {};
  for (const type of Object.values(QUOTA))
    for (const { id, space, inodes } of allQuotas(fs, type))
      if (space > 0 || inodes > 0) told[`${type}:${id}`] = { space, inodes };
  return told;
}

/** What every file has that can be reached; `open`: files without a name. */
export function usageSeen(fs: FakeMount, open: readonly FakeInode[] = []): Usage {
  const seen: Usage = {};
  const inodes = new Map<number, FakeInode>(open.map((inode) => [inode.cookie, inode]));
  const walk = (path: string) => {
    const inode = fs.inode(path);
    inodes.set(inode.cookie, inode);
    if (inode.isDirectory) for (const name of fs.list(path)) walk(`${path === '/' ? '' : path}/${name}`);
  };
  walk('/');
  for (const inode of inodes.values()) {
    const { uid, gid, blocks, size } = inode.stat();
    // The first block of a directory comes with it; attributes of the root are nobody's.
    let charged = inode.isDirectory && size > 0 ? blocks - 1 : blocks;
    if (inode === fs.root) charged = size > 0 ? size / BLOCK - 1 : 0;
    for (const owner of [`0:${uid}`, `1:${gid}`, `2:${projectOf(fs, inode)}`]) {
      seen[owner] ??= { space: 0, inodes: 0 };
      seen[owner].space += charged * BLOCK;
      seen[owner].inodes++;
    }
  }
  return seen;
}

/** The name of the error that a call ends with, or 'OK'. */
export function outcomeOf(action: () => unknown): string {
  try {
    action();
    return 'OK';
  } catch (error) {
    if (error instanceof KernelError) return error.code;
    throw error;
  }
}
