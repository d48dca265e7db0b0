// SPDX-License-Identifier: BSD-3-Clause

import { constants } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeKernel, type FakeMount, KernelError } from '../../zt/fake-kernel.ts';
import { RENAME } from '../../zt/fake-mount.ts';
import { nullfs } from './nullfs.ts';

const MiB = 1 << 20;
let kernel: FakeKernel;
let fs: FakeMount;

beforeEach(() => {
  kernel = new FakeKernel({ fileSystem: nullfs, devices: [{ node: 0, bytes: 4 * MiB }], cpus: 2 });
  fs = kernel.mount();
});

afterEach(() => expect(kernel.reports).toEqual([]));

function code(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof KernelError) return error.code;
    throw error;
  }
  return 'success';
}

describe('names', () => {
  it('creates, lists, renames and removes', () => {
    fs.mkdir('/a');
    fs.create('/a/one', { mode: 0o600, uid: 5, gid: 6 });
    fs.create('/a/two');
    expect(fs.list('/a')).toEqual(['one', 'two']);
    expect(fs.stat('/a/one')).toMatchObject({
      mode: constants.S_IFREG | 0o600,
      uid: 5,
      gid: 6,
      nlink: 1,
      size: 0,
    });
    fs.rename('/a/one', '/three');
    expect(fs.list('/a')).toEqual(['two']);
    expect(fs.list('/')).toEqual(['a', 'three']);
    fs.unlink('/three');
    expect(fs.exists('/three')).toBe(false);
    expect(code(() => fs.rmdir('/a'))).toBe('ENOTEMPTY');
    fs.unlink('/a/two');
    fs.rmdir('/a');
    expect(fs.list('/')).toEqual([]);
  });

  it('refuses a name that is there, and leaves it', () => {
    fs.create('/a', { mode: 0o600 });
    expect(code(() => fs.create('/a', { mode: 0o644 }))).toBe('EEXIST');
    expect(fs.list('/')).toEqual(['a']);
    expect(fs.stat('/a').mode & 0o777).toBe(0o600);
  });

  it('serves one mount from several threads', () => {
    fs.mkdir('/d');
    kernel.cpu = 1;
    fs.create('/d/from-one');
    kernel.cpu = 0;
    fs.dropCaches();
    expect(fs.list('/d')).toEqual(['from-one']);
    expect(fs.inode('/d/from-one').nlink).toBe(1);
  });

  it('counts links', () => {
    fs.mkdir('/d');
    fs.mkdir('/d/sub');
    expect(fs.stat('/d').nlink).toBe(3);
    expect(fs.stat('/').nlink).toBe(3);
    fs.create('/f');
    fs.link('/f', '/d/g');
    expect(fs.stat('/d/g').nlink).toBe(2);
    fs.unlink('/f');
    expect(fs.stat('/d/g').nlink).toBe(1);
    fs.rename('/d/sub', '/sub');
    expect(fs.stat('/d').nlink).toBe(2);
    expect(fs.lookup(fs.inode('/sub'), '..')).toBe(fs.root);
    const before = fs.statfs().ffree;
    const temporary = fs.tmpfile();
    expect(temporary.nlink).toBe(0);
    fs.link(temporary, '/kept');
    fs.close(temporary);
    expect(fs.stat('/kept').nlink).toBe(1);
    fs.unlink('/kept');
    expect(fs.statfs().ffree).toBe(before);
  });

  it('replaces and exchanges', () => {
    const one = fs.create('/one');
    const two = fs.create('/two');
    fs.mkdir('/dir');
    fs.rename('/one', '/two', RENAME.EXCHANGE);
    expect(fs.inode('/one')).toBe(two);
    expect(fs.inode('/two')).toBe(one);
    fs.dropCaches();
    expect(fs.stat('/one').ino).toBe(two.stat().ino);
    const free = fs.statfs().ffree;
    fs.rename('/one', '/two');
    expect(fs.list('/')).toEqual(['dir', 'two']);
    expect(fs.statfs().ffree).toBe(free + 1);
    expect(code(() => fs.rename('/two', '/dir'))).toBe('EISDIR');
  });

  it('continues a listing behind names that went away', () => {
    for (let i = 0; i < 300; i++) fs.create(`/file-${i}`);
    const first = fs.readdirFrom('/', 0n, 512);
    expect(first.more).toBe(true);
    expect(first.entries.slice(0, 2).map((entry) => entry.name)).toEqual(['.', '..']);
    const seen = first.entries.slice(2).map((entry) => entry.name);
    for (const name of seen) fs.unlink(`/${name}`);
    const { pos } = first.entries[first.entries.length - 1];
    const rest: string[] = [];
    for (
      let part = { entries: first.entries, more: true }, at = pos;
      part.more;
      at = part.entries.at(-1)?.pos ?? at
    ) {
      part = fs.readdirFrom('/', at, 4096);
      rest.push(...part.entries.map((entry) => entry.name));
    }
    expect([...seen, ...rest].sort()).toEqual(Array.from({ length: 300 }, (_, i) => `file-${i}`).sort());
    expect(code(() => fs.readdirFrom('/', 0n, 16))).toBe('EINVAL');
  });

  it('keeps symlink targets, short and long', () => {
    const long = 'x/'.repeat(2000);
    fs.symlink('short', '/s');
    fs.symlink(long, '/l');
    fs.symlink('y'.repeat(32), '/edge');
    fs.dropCaches();
    expect(fs.readlink('/s')).toBe('short');
    expect(fs.readlink('/l')).toBe(long);
    expect(fs.readlink('/edge')).toBe('y'.repeat(32));
    fs.unlink('/l');
  });

  it('runs out of room with ENOSPC and gives it back', () => {
    const free = fs.statfs().ffree;
    let made = 0;
    while (code(() => fs.create(`/f${made}`)) === 'success') made++;
    expect(made).toBeGreaterThan(9000);
    expect(fs.list('/')).toHaveLength(made);
    expect(code(() => fs.mkdir('/d'))).toBe('ENOSPC');
    for (let i = 0; i < made; i++) fs.unlink(`/f${i}`);
    expect(fs.statfs().ffree).toBe(free);
    fs.mkdir('/d');
  });
});

describe('data', () => {
  it('has a size and no contents', () => {
    const file = fs.create('/f');
    kernel.pageOffset = 100;
    expect(fs.write(file, 5000, 'hello')).toBe(5);
    expect(file.size).toBe(5005);
    expect(fs.read(file, 0, 9999)).toEqual(new Uint8Array(5005));
    fs.truncate(file, 7);
    expect(file.size).toBe(7);
    fs.fallocate(file, 0, 4096, 4096);
    expect(file.size).toBe(8192);
    expect(fs.seek(file, 10, 'hole')).toBe(10);
    expect(code(() => fs.seek(file, 10, 'data'))).toBe('ENXIO');
    expect(fs.getBlocks(file, 0, 4096).blocks).toEqual([null]);
    expect(code(() => fs.mmapWrite(file, 0, new Uint8Array(1)))).toBe('ENODEV');
    expect(fs.fiemap(file)).toEqual([]);
  });

  it('takes files beyond 4 GiB', () => {
    const file = fs.create('/f');
    fs.write(file, 5 * 2 ** 40, new Uint8Array(3));
    expect(file.size).toBe(5 * 2 ** 40 + 3);
  });
});

describe('mount', () => {
  it('forgets everything at unmount and serves the next one', () => {
    fs.create('/gone');
    fs.unmount();
    kernel.memory.fill(0);
    const again = kernel.mount();
    expect(again.list('/')).toEqual([]);
    expect(again.statfs()).toMatchObject({ type: 0x5a4e554c, bsize: 4096, namelen: 255 });
    expect(again.showOptions()).toBe('');
    again.sync();
    again.create('/new');
    again.unmount();
  });

  it('has no attributes', () => {
    fs.create('/f');
    fs.setxattr('/f', 'user.a', 'b');
    expect(fs.listxattr('/f')).toEqual([]);
    expect(code(() => fs.getxattr('/f', 'user.a'))).toBe('ENODATA');
    fs.chmod('/f', 0o400);
    expect(fs.stat('/f').mode & 0o777).toBe(0o400);
  });
});
