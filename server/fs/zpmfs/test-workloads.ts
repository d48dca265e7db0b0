// SPDX-License-Identifier: BSD-3-Clause

/** For the crash tests: every operation that changes something, each with what it needs to be there before. */

import { FLAG } from '../../abi/layout.ts';
import type { FakeMount } from '../../zt/fake-kernel.ts';
import { FALLOC, RENAME } from '../../zt/fake-mount.ts';

export interface Workload {
  readonly name: string;
  /** Makes what the operation works on, in the directory `d`. */
  readonly prepare?: (fs: FakeMount, d: string) => void;
  readonly act: (fs: FakeMount, d: string) => void;
}

export const bytes = (length: number, value: number) => new Uint8Array(length).fill(value);

const SET_FLAGS = 0x40086602;
const SET_LABEL = 0x41009432;
const LABEL = new Uint8Array(256).fill(0x61, 0, 31);
const NODUMP = Uint8Array.of(0x40, 0, 0, 0, 0, 0, 0, 0);
/** user::rw-, user:7:r--, group::r--, mask::r--, other::--- as getxattr(2) shows it. */
const ACL = Uint8Array.from(
  [
    [2, 0, 0, 0],
    [1, 0, 6, 0, 255, 255, 255, 255],
    [2, 0, 4, 0, 7, 0, 0, 0],
    [4, 0, 4, 0, 255, 255, 255, 255],
    [16, 0, 4, 0, 255, 255, 255, 255],
    [32, 0, 0, 0, 255, 255, 255, 255],
  ].flat(),
);

const file =
  (length: number, value = 1) =>
  (fs: FakeMount, d: string) =>
    void fs.writeFile(`${d}/f`, bytes(length, value));

/** Blocks that are written, allocated only, and not there. */
function mixed(fs: FakeMount, d: string): void {
  fs.writeFile(`${d}/f`, bytes(20_000, 1));
  fs.fallocate(`${d}/f`, 0, 24_000, 20_000);
  fs.write(`${d}/f`, 60_000, bytes(5000, 2));
}

function sharing(fs: FakeMount, d: string): void {
  mixed(fs, d);
  fs.clone(`${d}/f`, 0, fs.create(`${d}/g`), 0, 40_960);
}

const allocate = (name: string, mode: number, at: number, length: number): Workload => ({
  name,
  prepare: mixed,
  act: (fs, d) => fs.fallocate(`${d}/f`, mode, at, length),
});

const both = (fs: FakeMount, d: string): void => {
  fs.writeFile(`${d}/f`, bytes(5000, 1));
  fs.writeFile(`${d}/g`, bytes(9000, 2));
  fs.mkdir(`${d}/sub`);
  fs.mkdir(`${d}/other`);
};

export const WORKLOADS: readonly Workload[] = [
  { name: 'create', act: (fs, d) => void fs.create(`${d}/f`) },
  { name: 'mkdir', act: (fs, d) => void fs.mkdir(`${d}/sub`) },
  { name: 'mknod', act: (fs, d) => void fs.mknod(`${d}/device`, 0o020600, 0x0103) },
  { name: 'symlink', act: (fs, d) => void fs.symlink('short', `${d}/link`) },
  { name: 'long symlink', act: (fs, d) => void fs.symlink('long/'.repeat(300), `${d}/link`) },
  { name: 'link', prepare: file(100), act: (fs, d) => fs.link(`${d}/f`, `${d}/link`) },
  { name: 'unlink', prepare: file(30_000), act: (fs, d) => fs.unlink(`${d}/f`) },
  {
    name: 'unlink one of two names',
    prepare: (fs, d) => {
      fs.link(fs.writeFile(`${d}/f`, 'text'), `${d}/g`);
    },
    act: (fs, d) => fs.unlink(`${d}/f`),
  },
  {
    name: 'unlink an open file, and close it',
    prepare: file(30_000),
    act: (fs, d) => {
      const open = fs.open(`${d}/f`);
      fs.unlink(`${d}/f`);
      fs.close(open);
    },
  },
  { name: 'rmdir', prepare: (fs, d) => void fs.mkdir(`${d}/sub`), act: (fs, d) => fs.rmdir(`${d}/sub`) },
  { name: 'rename', prepare: both, act: (fs, d) => fs.rename(`${d}/f`, `${d}/sub/moved`) },
  { name: 'rename a directory', prepare: both, act: (fs, d) => fs.rename(`${d}/sub`, `${d}/other/sub`) },
  { name: 'rename over a file', prepare: both, act: (fs, d) => fs.rename(`${d}/f`, `${d}/g`) },
  { name: 'rename over a directory', prepare: both, act: (fs, d) => fs.rename(`${d}/sub`, `${d}/other`) },
  { name: 'exchange', prepare: both, act: (fs, d) => fs.rename(`${d}/f`, `${d}/sub`, RENAME.EXCHANGE) },
  { name: 'whiteout', prepare: both, act: (fs, d) => fs.rename(`${d}/f`, `${d}/moved`, RENAME.WHITEOUT) },
  {
    name: 'write new',
    prepare: (fs, d) => void fs.create(`${d}/f`),
    act: (fs, d) => void fs.write(`${d}/f`, 100, bytes(30_000, 3)),
  },
  { name: 'append', prepare: file(6000), act: (fs, d) => void fs.write(`${d}/f`, 6000, bytes(9000, 3)) },
  {
    name: 'append inside a block',
    prepare: file(100),
    act: (fs, d) => void fs.write(`${d}/f`, 100, bytes(50, 3)),
  },
  { name: 'overwrite', prepare: file(20_000), act: (fs, d) => void fs.write(`${d}/f`, 3000, bytes(9000, 3)) },
  {
    name: 'write far behind the end',
    prepare: file(100),
    act: (fs, d) => void fs.write(`${d}/f`, 2_500_000, 'far'),
  },
  {
    name: 'write to allocated',
    prepare: mixed,
    act: (fs, d) => void fs.write(`${d}/f`, 30_000, bytes(9000, 3)),
  },
  {
    name: 'write to shared',
    prepare: sharing,
    act: (fs, d) => void fs.write(`${d}/g`, 3000, bytes(9000, 3)),
  },
  {
    name: 'store through a mapping, and fsync',
    prepare: mixed,
    act: (fs, d) => {
      fs.mmapWrite(`${d}/f`, 50_000, bytes(3000, 3));
      fs.sync(`${d}/f`);
    },
  },
  { name: 'truncate down', prepare: mixed, act: (fs, d) => fs.truncate(`${d}/f`, 5000) },
  { name: 'truncate to nothing', prepare: mixed, act: (fs, d) => fs.truncate(`${d}/f`, 0) },
  { name: 'truncate up', prepare: file(5000), act: (fs, d) => fs.truncate(`${d}/f`, 50_000) },
  { name: 'truncate shared', prepare: sharing, act: (fs, d) => fs.truncate(`${d}/g`, 5000) },
  allocate('allocate', 0, 40_000, 60_000),
  allocate('allocate behind the end', FALLOC.KEEP_SIZE, 60_000, 60_000),
  allocate('punch', FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 3000, 30_000),
  allocate('zero', FALLOC.ZERO_RANGE, 3000, 90_000),
  allocate('zero inside', FALLOC.ZERO_RANGE | FALLOC.KEEP_SIZE, 3000, 20_000),
  allocate('collapse', FALLOC.COLLAPSE_RANGE, 4096, 16_384),
  allocate('insert', FALLOC.INSERT_RANGE, 8192, 16_384),
  {
    name: 'unshare',
    prepare: sharing,
    act: (fs, d) => fs.fallocate(`${d}/g`, FALLOC.UNSHARE_RANGE, 0, 20_000),
  },
  {
    name: 'clone',
    prepare: (fs, d) => {
      mixed(fs, d);
      fs.writeFile(`${d}/g`, bytes(12_288, 5));
    },
    act: (fs, d) => fs.clone(`${d}/f`, 0, `${d}/g`, 4096, 40_960),
  },
  {
    name: 'copy',
    prepare: (fs, d) => {
      mixed(fs, d);
      fs.create(`${d}/g`);
    },
    act: (fs, d) => fs.copy(`${d}/f`, 100, `${d}/g`, 50, 20_000),
  },
  {
    name: 'set a small attribute',
    prepare: file(100),
    act: (fs, d) => fs.setxattr(`${d}/f`, 'user.a', 'value'),
  },
  {
    name: 'set a large attribute',
    prepare: file(100),
    act: (fs, d) => fs.setxattr(`${d}/f`, 'user.b', bytes(9000, 5)),
  },
  {
    name: 'replace an attribute',
    prepare: (fs, d) => {
      file(100)(fs, d);
      fs.setxattr(`${d}/f`, 'user.b', bytes(9000, 5));
    },
    act: (fs, d) => fs.setxattr(`${d}/f`, 'user.b', bytes(5000, 6)),
  },
  {
    name: 'remove an attribute',
    prepare: (fs, d) => {
      file(100)(fs, d);
      fs.setxattr(`${d}/f`, 'user.b', bytes(9000, 5));
    },
    act: (fs, d) => fs.removexattr(`${d}/f`, 'user.b'),
  },
  {
    name: 'set an ACL',
    prepare: file(100),
    act: (fs, d) => fs.setxattr(`${d}/f`, 'system.posix_acl_access', ACL),
  },
  { name: 'chmod', prepare: file(100), act: (fs, d) => fs.chmod(`${d}/f`, 0o600) },
  { name: 'chown', prepare: file(100), act: (fs, d) => fs.setattr(`${d}/f`, { uid: 7 }) },
  {
    name: 'set the label',
    act: (fs) => void fs.ioctl('/', SET_LABEL, LABEL, FLAG.ZUFS_IOC_CAP_ADMIN),
  },
  { name: 'set flags', prepare: file(100), act: (fs, d) => void fs.ioctl(`${d}/f`, SET_FLAGS, NODUMP) },
  {
    name: 'tmpfile',
    act: (fs, d) => {
      const inode = fs.tmpfile(d);
      fs.write(inode, 0, bytes(9000, 3));
      fs.close(inode);
    },
  },
  {
    name: 'tmpfile and linkat',
    act: (fs, d) => {
      const inode = fs.tmpfile(d);
      fs.link(inode, `${d}/named`);
      fs.close(inode);
    },
  },
];

/** What makes a file system a used one: full leaves, freed blocks in between, files of every kind. */
export function use(fs: FakeMount): void {
  fs.mkdir('/used');
  for (let n = 0; n < 36; n++) fs.create(`/used/${'name'.repeat(20)}${n}`);
  for (let n = 0; n < 36; n += 3) fs.unlink(`/used/${'name'.repeat(20)}${n}`);
  for (let n = 0; n < 8; n++) fs.writeFile(`/used/data${n}`, bytes(7000, n + 10));
  for (let n = 0; n < 8; n += 2) fs.unlink(`/used/data${n}`);
  fs.symlink('t'.repeat(100), '/used/link');
  fs.setxattr('/used/data1', 'user.x', bytes(5000, 9));
  // Behind what one node of its map covers.
  fs.write(fs.create('/used/sparse'), 2_200_000, 'far');
}

/** Delete everything, as an application would. */
export function deleteAll(fs: FakeMount, path = ''): void {
  for (const name of fs.list(path === '' ? '/' : path)) {
    const child = `${path}/${name}`;
    if (!fs.inode(child).isDirectory) fs.unlink(child);
    else {
      deleteAll(fs, child);
      fs.rmdir(child);
    }
  }
}
