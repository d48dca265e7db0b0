// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { FLAG } from '../../abi/layout.ts';
import type { FakeMount } from '../../zt/fake-kernel.ts';
import { RENAME } from '../../zt/fake-mount.ts';
import { checkMemory, createVolume } from './test-volume.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const FSGETXATTR = 0x801c581f;
const FSSETXATTR = 0x401c5820;
const SHUTDOWN = 0x8004587d;
const BIRTH_TIME = 0x80085a20;
const PROJINHERIT = 0x200;
const NODUMP = 0x80;
const EXTSZINHERIT = 0x1000;
const EXTSIZE = 0x800;

function getFsx(fs: FakeMount, path: string): { xflags: number; extentSize: number; project: number } {
  const view = new DataView(fs.ioctl(path, FSGETXATTR, new Uint8Array(28)).buffer);
  return {
    xflags: view.getUint32(0, true),
    extentSize: view.getUint32(4, true),
    project: view.getUint32(12, true),
  };
}

function setFsx(fs: FakeMount, path: string, xflags: number, project: number, extentSize = 0): void {
  const view = new DataView(new ArrayBuffer(28));
  view.setUint32(0, xflags, true);
  view.setUint32(4, extentSize, true);
  view.setUint32(12, project, true);
  fs.ioctl(path, FSSETXATTR, new Uint8Array(view.buffer), FLAG.ZUFS_IOC_CAP_ADMIN);
}

describe('extended attributes', () => {
  it('that are too large for the inode lie in blocks that fiemap tells when it is asked for them', () => {
    const FIEMAP_FLAG_XATTR = 2;
    const FIEMAP_EXTENT_LAST = 1;
    const fs = createVolume(8 << 20).kernel.mount();
    fs.writeFile('/file', new Uint8Array(3 * 4096).fill(1));
    const ofAttributes = (start = 0, max = 64) => fs.fiemap('/file', start, 2 ** 52, max, FIEMAP_FLAG_XATTR);
    fs.setxattr('/file', 'user.small', 'in the inode');
    expect(ofAttributes()).toEqual([]);
    fs.setxattr('/file', 'user.large', new Uint8Array(10_000).fill(2));
    const extents = ofAttributes();
    expect(extents.map(({ logical, length, flags }) => [logical, length, flags])).toEqual([
      [0, 4096, 0],
      [4096, 4096, 0],
      [8192, 4096, FIEMAP_EXTENT_LAST],
    ]);
    const ofData = fs.fiemap('/file').flatMap(({ physical, length }) => [physical, physical + length - 1]);
    for (const { physical } of extents) expect(physical > ofData[0] && physical < ofData[1]).toBe(false);
    // In pieces.
    expect(ofAttributes(0, 2)).toEqual(extents.slice(0, 2));
    expect(ofAttributes(8192)).toEqual(extents.slice(2));
    fs.unmount();
  });
});

describe('projects', () => {
  it('are inherited where the directory says so, over a remount too', () => {
    const volume = createVolume(8 << 20);
    let fs = volume.kernel.mount();
    fs.mkdir('/p');
    setFsx(fs, '/p', PROJINHERIT | NODUMP | EXTSZINHERIT, 42, 65_536);
    fs.create('/p/file');
    fs.mkdir('/p/directory');
    fs.create('/p/directory/file');
    fs.create('/outside');
    fs.unmount();
    fs = volume.kernel.mount();
    expect(getFsx(fs, '/p/file')).toEqual({ xflags: NODUMP | EXTSIZE, extentSize: 65_536, project: 42 });
    expect(getFsx(fs, '/p/directory').project).toBe(42);
    expect(getFsx(fs, '/p/directory').xflags & PROJINHERIT).toBe(PROJINHERIT);
    expect(getFsx(fs, '/p/directory/file').project).toBe(42);
    expect(getFsx(fs, '/outside')).toEqual({ xflags: 0, extentSize: 0, project: 0 });
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });

  it('keep inodes of others out', () => {
    const fs = createVolume(8 << 20).kernel.mount();
    fs.mkdir('/p');
    setFsx(fs, '/p', PROJINHERIT, 42);
    fs.create('/p/inside');
    fs.create('/outside');
    expect(() => fs.link('/outside', '/p/link')).toThrow('EXDEV');
    expect(() => fs.rename('/outside', '/p/moved')).toThrow('EXDEV');
    expect(() => fs.rename('/p/inside', '/outside', RENAME.EXCHANGE)).toThrow('EXDEV');
    fs.rename('/p/inside', '/p/renamed');
    fs.rename('/p/renamed', '/out');
    expect(fs.list('/p')).toEqual([]);
    fs.rename('/out', '/p/back');
    fs.unmount();
  });
});

describe('ioctls', () => {
  it('tell when an inode was made, whatever happens to it later', () => {
    const fs = createVolume(8 << 20).kernel.mount();
    fs.now = () => 4_000_000_000_123_456_789n;
    fs.create('/f');
    fs.now = () => 4_100_000_000_000_000_000n;
    fs.write('/f', 0, 'text');
    fs.chmod('/f', 0o600);
    const birth = new DataView(fs.ioctl('/f', BIRTH_TIME).buffer).getBigInt64(0, true);
    expect(birth).toBe(4_000_000_000_123_456_789n);
    fs.unmount();
  });

  it('shut the file system down for the administrator only', () => {
    const volume = createVolume(8 << 20);
    const fs = volume.kernel.mount();
    fs.writeFile('/f', 'text');
    expect(() => fs.ioctl('/f', SHUTDOWN)).toThrow('EPERM');
    expect(fs.readText('/f')).toBe('text');
    fs.ioctl('/f', SHUTDOWN, new Uint8Array(8), FLAG.ZUFS_IOC_CAP_ADMIN);
    expect(() => fs.readText('/f')).toThrow('EIO');
    expect(() => fs.create('/g')).toThrow('EIO');
    const again = volume.reopen().kernel.mount();
    expect(again.readText('/f')).toBe('text');
    again.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });
});

describe('the label', () => {
  const GET = 0x81009431;
  const SET = 0x41009432;
  const argument = (label: string) => {
    const bytes = new Uint8Array(256);
    bytes.set(Buffer.from(label));
    return bytes;
  };
  const get = (fs: FakeMount) => Buffer.from(fs.ioctl('/', GET, new Uint8Array(256).fill(7))).toString();
  const padded = (label: string) => Buffer.from(argument(label)).toString();
  const set = (fs: FakeMount, label: string) => fs.ioctl('/', SET, argument(label), FLAG.ZUFS_IOC_CAP_ADMIN);

  it('is that of mkfs until another is set, and stays over a remount', () => {
    const volume = createVolume(8 << 20, 1, { hashSeed: 1, label: 'from mkfs' });
    let fs = volume.kernel.mount();
    expect(get(fs)).toBe(padded('from mkfs'));
    for (const label of ['x'.repeat(32), 'größer', '']) {
      set(fs, label);
      expect(get(fs)).toBe(padded(label));
      fs.unmount();
      fs = volume.kernel.mount();
      expect(get(fs)).toBe(padded(label));
    }
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });

  it('ends at the NUL, whatever lies behind it', () => {
    const fs = createVolume(8 << 20).kernel.mount();
    const bytes = argument('short').fill(0x7a, 6);
    fs.ioctl('/', SET, bytes, FLAG.ZUFS_IOC_CAP_ADMIN);
    expect(get(fs)).toBe(padded('short'));
    fs.unmount();
  });

  it('is refused when it is too long, by whoever is not the administrator, and where nothing may change', () => {
    const volume = createVolume(8 << 20, 1, { hashSeed: 1, label: 'kept' });
    const fs = volume.kernel.mount();
    expect(() => set(fs, 'x'.repeat(33))).toThrow('EINVAL');
    expect(() => set(fs, 'x'.repeat(256))).toThrow('EINVAL');
    expect(() => fs.ioctl('/', SET, argument('mine'))).toThrow('EPERM');
    fs.remount({ readOnly: true });
    expect(() => set(fs, 'late')).toThrow('EROFS');
    expect(get(fs)).toBe(padded('kept'));
    fs.unmount();
  });
});
