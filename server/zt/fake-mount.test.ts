// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it } from 'vitest';
import { createVolume } from '../fs/zpmfs/test-volume.ts';
import type { FakeMount } from './fake-mount.ts';

const FS_IOC_GETVERSION = 0x80087601;

/** Calls by path, each with what it must give on the file that the test makes. */
const calls: readonly (readonly [string, (fs: FakeMount) => unknown, unknown])[] = [
  ['fsync', (fs) => fs.sync('/a/b/file'), undefined],
  ['lseek', (fs) => fs.seek('/a/b/file', 0, 'hole'), 4096],
  ['fiemap', (fs) => fs.fiemap('/a/b/file').length, 1],
  ['munmap', (fs) => fs.mmapClose('/a/b/file'), undefined],
  ['ioctl', (fs) => fs.ioctl('/a/b/file', FS_IOC_GETVERSION)[0], 1],
  ['setattr', (fs) => fs.chmod('/a/b/file', 0o600), undefined],
  ['getxattr', (fs) => new TextDecoder().decode(fs.getxattr('/a/b/file', 'user.name')), 'value'],
  ['listxattr', (fs) => fs.listxattr('/a/b/file'), ['user.name']],
  ['setxattr', (fs) => fs.setxattr('/a/b/file', 'user.name', 'other'), undefined],
  ['clone', (fs) => fs.clone('/a/b/file', 0, '/a/target', 0, 4096), undefined],
  ['read', (fs) => fs.readText('/a/b/file').length, 4096],
  ['truncate', (fs) => fs.truncate('/a/b/file', 10), undefined],
];

describe('a call by path', () => {
  it.each(calls)('%s looks its path up before it builds its command', (_, call, expected) => {
    const fs = createVolume(4 << 20).kernel.mount();
    fs.mkdir('/a');
    fs.mkdir('/a/b');
    fs.create('/a/target');
    fs.writeFile('/a/b/file', 'x'.repeat(4096));
    fs.setxattr('/a/b/file', 'user.name', 'value');
    fs.dropCaches();
    expect(call(fs)).toEqual(expected);
    fs.unmount();
  });
});
