// SPDX-License-Identifier: BSD-3-Clause

import { afterEach, describe, expect, it, vi } from 'vitest';
import { type FakeKernel, type FakeMount, KernelError } from '../../zt/fake-kernel.ts';
import { FALLOC, RENAME } from '../../zt/fake-mount.ts';
import { hashName } from './directory.ts';
import { checkMemory, createVolume, type Volume } from './test-volume.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

let volume: Volume;
let kernel: FakeKernel;
let fs: FakeMount;

function start(bytes = 16 << 20, cpus = 1): void {
  volume = createVolume(bytes, cpus);
  kernel = volume.kernel;
  fs = kernel.mount();
}

function remount(): void {
  fs.unmount();
  fs = kernel.mount();
}

function errnoOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof KernelError) return error.errno === 117 ? 'EUCLEAN' : error.code;
    throw error;
  }
  return 'OK';
}

afterEach(() => {
  fs.unmount();
  expect(kernel.reports).toEqual([]);
  expect(checkMemory(volume)).toEqual([]);
});

describe('names', () => {
  it('creates, finds, links and removes, also over a remount', () => {
    start();
    fs.mkdir('/a');
    fs.writeFile('/a/b', 'hello');
    fs.link('/a/b', '/c');
    expect(fs.stat('/c').nlink).toBe(2);
    expect(fs.stat('/').nlink).toBe(3);
    remount();
    expect(fs.readText('/c')).toBe('hello');
    expect(fs.list('/')).toEqual(['a', 'c']);
    fs.unlink('/a/b');
    expect(fs.stat('/c').nlink).toBe(1);
    expect(errnoOf(() => fs.inode('/a/b'))).toBe('ENOENT');
    fs.rmdir('/a');
    expect(fs.stat('/').nlink).toBe(2);
    expect(errnoOf(() => fs.mkdir('/c/x'))).toBe('ENOTDIR');
  });

  it('refuses to remove a directory that has names', () => {
    start();
    fs.mkdir('/d');
    fs.create('/d/x');
    expect(errnoOf(() => fs.rmdir('/d'))).toBe('ENOTEMPTY');
  });

  it('keeps thousands of names, and lists each once while others go', () => {
    start(32 << 20);
    fs.mkdir('/d');
    const names = Array.from({ length: 3000 }, (_, n) => `file-${n}-${'x'.repeat(n % 200)}`);
    for (const name of names) fs.create(`/d/${name}`);
    expect(fs.list('/d')).toEqual([...names].sort());
    remount();
    expect(fs.list('/d')).toEqual([...names].sort());
    const seen: string[] = [];
    let position = 0n;
    for (;;) {
      const part = fs.readdirFrom('/d', position, 4096);
      for (const entry of part.entries) {
        if (entry.name !== '.' && entry.name !== '..') {
          seen.push(entry.name);
          fs.unlink(`/d/${entry.name}`);
        }
        position = entry.pos;
      }
      if (!part.more) break;
    }
    expect(seen.sort()).toEqual([...names].sort());
    expect(fs.stat('/d').blocks).toBe(0);
    fs.rmdir('/d');
  });

  it('keeps names of 255 bytes and of any bytes', () => {
    start();
    const odd = new Uint8Array([0xff, 0x01, 0x80, 0x0a]);
    fs.create(`/${'n'.repeat(255)}`);
    expect(fs.list('/')).toEqual(['n'.repeat(255)]);
    expect(fs.lookup(fs.root, 'n'.repeat(255)).stat().ino).toBeGreaterThan(1);
    expect(errnoOf(() => fs.lookup(fs.root, odd))).toBe('ENOENT');
  });

  it('tells names of one hash apart, also as a place to go on from', () => {
    start();
    const seen = new Map<number, string>();
    const pairs: string[] = [];
    for (let n = 0; pairs.length < 4; n++) {
      const bytes = new TextEncoder().encode(`n${n}`);
      const hash = hashName(bytes, 0, bytes.length, 1);
      const other = seen.get(hash);
      if (other !== undefined) pairs.push(other, `n${n}`);
      seen.set(hash, `n${n}`);
    }
    for (const name of pairs) fs.writeFile(`/${name}`, name);
    for (const name of pairs) expect(fs.readText(`/${name}`)).toBe(name);
    // Room for one entry at a time.
    const names = fs.readdir('/', 32).map((entry) => entry.name);
    expect(names.sort()).toEqual(['.', '..', ...pairs].sort());
    fs.unlink(`/${pairs[0]}`);
    expect(fs.readText(`/${pairs[1]}`)).toBe(pairs[1]);
  });

  it('renames over files, over empty directories, across parents and in exchange', () => {
    start();
    fs.mkdir('/a');
    fs.mkdir('/b');
    fs.mkdir('/a/sub');
    fs.writeFile('/a/f', 'one');
    fs.writeFile('/b/f', 'two');
    fs.rename('/a/f', '/b/f');
    expect(fs.readText('/b/f')).toBe('one');
    expect(fs.list('/a')).toEqual(['sub']);
    fs.rename('/a/sub', '/b/sub');
    expect(fs.stat('/a').nlink).toBe(2);
    expect(fs.stat('/b').nlink).toBe(3);
    expect(fs.lookup(fs.inode('/b/sub'), '..').stat().ino).toBe(fs.stat('/b').ino);
    fs.mkdir('/b/empty');
    fs.rename('/b/sub', '/b/empty');
    expect(fs.list('/b')).toEqual(['empty', 'f']);
    fs.rename('/b/f', '/a', RENAME.EXCHANGE);
    expect(fs.readText('/a')).toBe('one');
    expect(fs.stat('/b').nlink).toBe(4);
    expect(errnoOf(() => fs.rename('/a', '/b/f', RENAME.NOREPLACE))).toBe('EEXIST');
    expect(errnoOf(() => fs.rename('/b/f', '/b/empty'))).toBe('OK');
    fs.rename('/a', '/w', RENAME.WHITEOUT);
    expect(fs.stat('/a').mode & 0o170000).toBe(0o020000);
  });

  it('keeps symbolic links, short and long, and device nodes', () => {
    start();
    fs.symlink('x'.repeat(32), '/short');
    fs.symlink('y'.repeat(4000), '/long');
    fs.mknod('/dev', 0o060600, 0x1234);
    remount();
    expect(fs.readlink('/short')).toBe('x'.repeat(32));
    expect(fs.readlink('/long')).toBe('y'.repeat(4000));
    expect(fs.stat('/dev').rdev).toBe(0x1234);
    const before = fs.statfs().bfree;
    fs.unlink('/long');
    expect(fs.statfs().bfree).toBe(before + 1);
  });

  it('gives a temporary file a name, or frees it at the end', () => {
    start();
    const free = fs.statfs().bfree;
    const gone = fs.tmpfile();
    fs.write(gone, 0, 'x'.repeat(8192));
    fs.close(gone);
    const kept = fs.tmpfile();
    fs.write(kept, 0, 'kept');
    fs.link(kept, '/kept');
    fs.close(kept);
    expect(fs.readText('/kept')).toBe('kept');
    fs.unlink('/kept');
    expect(fs.statfs().bfree).toBeGreaterThanOrEqual(free - 8);
  });

  it('removes at mount what was open without a name at a crash', () => {
    start();
    const orphan = fs.tmpfile();
    fs.write(orphan, 0, 'x'.repeat(100_000));
    // No unmount: the server is gone.
    volume = volume.reopen();
    kernel = volume.kernel;
    const other = kernel.mount();
    fs = other;
    expect(checkMemory(volume)).toEqual([]);
    expect(fs.statfs().ffree).toBeGreaterThan(0);
  });
});

describe('data', () => {
  it('writes at odd places and reads back, holes as zeroes', () => {
    start();
    fs.create('/f');
    kernel.pageOffset = 100;
    fs.write('/f', 10_000, 'abc');
    fs.write('/f', 4095, 'XY');
    remount();
    const bytes = fs.readFile('/f');
    expect(bytes.length).toBe(10_003);
    expect(Buffer.from(bytes.subarray(4094, 4098)).toString('latin1')).toBe('\0XY\0');
    expect(Buffer.from(bytes.subarray(10_000)).toString()).toBe('abc');
    expect(bytes.subarray(0, 4095).every((byte) => byte === 0)).toBe(true);
    expect(fs.stat('/f').blocks).toBe(3);
  });

  it('truncates both ways and never shows old bytes', () => {
    start();
    fs.writeFile('/f', 'z'.repeat(20_000));
    fs.truncate('/f', 5000);
    expect(fs.stat('/f').blocks).toBe(2);
    fs.truncate('/f', 9000);
    const bytes = fs.readFile('/f');
    expect(bytes.subarray(0, 5000).every((byte) => byte === 0x7a)).toBe(true);
    expect(bytes.subarray(5000).every((byte) => byte === 0)).toBe(true);
    fs.truncate('/f', 0);
    expect(fs.stat('/f').blocks).toBe(0);
  });

  it('zeroes what a mapping stored behind the end when the file grows', () => {
    start();
    fs.writeFile('/f', 'abc');
    fs.mmapWrite('/f', 0, new TextEncoder().encode('abcdefgh'));
    fs.truncate('/f', 8);
    expect(fs.readText('/f')).toBe('abc\0\0\0\0\0');
    fs.mmapWrite('/f', 8, new TextEncoder().encode('junk'));
    fs.write('/f', 100, 'end');
    expect(
      fs
        .readFile('/f')
        .subarray(8, 100)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  it('keeps a large file aligned for huge pages', () => {
    start(32 << 20);
    const piece = new Uint8Array(1 << 20).fill(7);
    fs.create('/big');
    for (let at = 0; at < 8; at++) fs.write('/big', at << 20, piece);
    const blocks = fs.getBlocks('/big', 4 << 20, 2 << 20).blocks;
    const first = blocks[0] ?? 1;
    expect(first % 512).toBe(0);
    expect(blocks.every((block, index) => block === first + index)).toBe(true);
    expect(fs.readFile('/big').every((byte) => byte === 7)).toBe(true);
  });

  it('fills up, says ENOSPC, and gets everything back', () => {
    start(8 << 20);
    const free = fs.statfs().bfree;
    fs.mkdir('/d');
    let files = 0;
    const piece = new Uint8Array(300_000).fill(1);
    let last = 'OK';
    while (last === 'OK') {
      last = errnoOf(() => {
        fs.create(`/d/${files}`);
        files++;
        if (fs.write(`/d/${files - 1}`, 0, piece) < piece.length) throw new KernelError(28, 'short');
      });
    }
    expect(last).toBe('ENOSPC');
    expect(fs.statfs().bavail).toBeLessThan(8);
    for (const name of fs.list('/d')) fs.unlink(`/d/${name}`);
    fs.rmdir('/d');
    expect(fs.statfs().bfree).toBeGreaterThanOrEqual(free - 8);
  });

  it('gives a mapping zeroed blocks', () => {
    start();
    fs.writeFile('/old', new Uint8Array(1 << 20).fill(0xee));
    fs.unlink('/old');
    fs.create('/f');
    fs.truncate('/f', 1 << 20);
    const got = fs.getBlocks('/f', 0, 1 << 20, 3);
    expect(got.isNew).toBe(true);
    expect(got.blocks.every((block) => block !== null)).toBe(true);
    fs.putBlocks(got.reply);
    expect(fs.readFile('/f').every((byte) => byte === 0)).toBe(true);
  });
});

describe('fallocate', () => {
  it('allocates unwritten blocks that read as zeroes', () => {
    start();
    fs.create('/f');
    fs.fallocate('/f', 0, 0, 3_000_000);
    expect(fs.stat('/f').size).toBe(3_000_000);
    expect(fs.stat('/f').blocks).toBe(Math.ceil(3_000_000 / 4096));
    expect(fs.seek('/f', 0, 'hole')).toBe(0);
    fs.write('/f', 1_000_000, 'data');
    expect(fs.seek('/f', 0, 'data')).toBe(Math.floor(1_000_000 / 4096) * 4096);
    fs.fallocate('/f', FALLOC.KEEP_SIZE, 3_000_000, 1_000_000);
    expect(fs.stat('/f').size).toBe(3_000_000);
  });

  it('refuses as a whole what has no room, or would move out of the file', () => {
    start(8 << 20);
    fs.writeFile('/f', 'x'.repeat(8192));
    const { bfree } = fs.statfs();
    expect(errnoOf(() => fs.fallocate('/f', 0, 0, 100 << 20))).toBe('ENOSPC');
    expect(fs.statfs().bfree).toBe(bfree);
    const end = (2 ** 32 - 2) * 4096;
    fs.fallocate('/f', FALLOC.KEEP_SIZE, end, 4096);
    const before = fs.statfs().bfree;
    expect(errnoOf(() => fs.fallocate('/f', FALLOC.INSERT_RANGE, 4096, 4096))).toBe('EFBIG');
    expect(fs.statfs().bfree).toBe(before);
    expect(fs.readText('/f')).toBe('x'.repeat(8192));
    // A tree keeps its height until the file is empty; then all of it goes.
    fs.truncate('/f', 0);
    expect(fs.statfs().bfree).toBe(bfree + 3);
  });

  it('punches, zeroes, collapses and inserts', () => {
    start();
    const pattern = new Uint8Array(64 * 4096);
    for (let index = 0; index < pattern.length; index++)
      pattern[index] = 1 + (Math.floor(index / 4096) % 250);
    fs.writeFile('/f', pattern);
    const model = Array.from(pattern);
    const check = () => expect(Buffer.compare(fs.readFile('/f'), Uint8Array.from(model))).toBe(0);
    fs.fallocate('/f', FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 5000, 30_000);
    model.fill(0, 5000, 35_000);
    check();
    fs.fallocate('/f', FALLOC.ZERO_RANGE, 50_001, 20_000);
    model.fill(0, 50_001, 70_001);
    check();
    fs.fallocate('/f', FALLOC.COLLAPSE_RANGE, 8192, 16384);
    model.splice(8192, 16384);
    check();
    fs.fallocate('/f', FALLOC.INSERT_RANGE, 4096, 8192);
    model.splice(4096, 0, ...new Array<number>(8192).fill(0));
    check();
    remount();
    check();
  });
});

describe('extended attributes', () => {
  it('keeps them inline, in blocks, and over a remount', () => {
    start();
    fs.writeFile('/f', 'x');
    fs.setxattr('/f', 'user.small', 'value');
    expect(fs.stat('/f').blocks).toBe(1);
    fs.setxattr('/f', 'user.big', new Uint8Array(40_000).fill(3));
    fs.setxattr('/f', 'trusted.t', '');
    expect(fs.stat('/f').blocks).toBe(11);
    remount();
    expect(fs.stat('/f').blocks).toBe(11);
    expect(fs.listxattr('/f').sort()).toEqual(['trusted.t', 'user.big', 'user.small']);
    expect(fs.getxattr('/f', 'user.big')).toEqual(new Uint8Array(40_000).fill(3));
    expect(Buffer.from(fs.getxattr('/f', 'user.small')).toString()).toBe('value');
    expect(fs.getxattr('/f', 'trusted.t').length).toBe(0);
    fs.setxattr('/f', 'user.big', 'now small');
    expect(fs.stat('/f').blocks).toBe(1);
    fs.removexattr('/f', 'user.big');
    expect(errnoOf(() => fs.getxattr('/f', 'user.big'))).toBe('ENODATA');
    expect(errnoOf(() => fs.removexattr('/f', 'user.big'))).toBe('ENODATA');
    expect(errnoOf(() => fs.setxattr('/f', 'user.small', 'y', 1))).toBe('EEXIST');
    expect(errnoOf(() => fs.setxattr('/f', 'user.none', 'y', 2))).toBe('ENODATA');
    expect(errnoOf(() => fs.getxattrSize('/f', 'user.small', 2))).toBe('ERANGE');
    expect(errnoOf(() => fs.setxattr('/f', 'system.other', 'y'))).toBe('ENOTSUP');
  });

  it('frees attribute blocks with the inode, directories too', () => {
    start();
    fs.mkdir('/keep');
    const free = fs.statfs().bfree;
    fs.mkdir('/d');
    fs.setxattr('/d', 'user.big', new Uint8Array(20_000));
    for (let n = 0; n < 300; n++) fs.create(`/d/${'n'.repeat(100)}${n}`);
    for (const name of fs.list('/d')) fs.unlink(`/d/${name}`);
    expect(fs.stat('/d').blocks).toBe(5);
    fs.rmdir('/d');
    expect(fs.statfs().bfree).toBeGreaterThanOrEqual(free - 24);
  });
});

describe('reflink', () => {
  const block = (value: number, count = 1) => new Uint8Array(4096 * count).fill(value);

  it('shares blocks until one side writes', () => {
    start();
    fs.writeFile('/a', block(1, 100));
    fs.create('/b');
    const free = fs.statfs().bfree;
    fs.clone('/a', 0, '/b', 0, 100 * 4096);
    expect(fs.statfs().bfree).toBeGreaterThanOrEqual(free - 1);
    fs.write('/b', 10 * 4096 + 5, 'B');
    fs.write('/a', 20 * 4096 + 5, 'A');
    remount();
    expect(fs.read('/a', 10 * 4096 + 5, 1)[0]).toBe(1);
    expect(fs.read('/b', 20 * 4096 + 5, 1)[0]).toBe(1);
    expect(Buffer.from(fs.read('/b', 10 * 4096 + 4, 3))).toEqual(Buffer.from([1, 0x42, 1]));
    fs.unlink('/a');
    expect(fs.read('/b', 50 * 4096, 4096)).toEqual(block(1));
    fs.truncate('/b', 30 * 4096 + 1);
    fs.mmapWrite('/b', 3 * 4096, new TextEncoder().encode('m'));
    expect(fs.read('/b', 3 * 4096, 1)[0]).toBe(0x6d);
  });

  it('keeps tails apart when a shared file is cut or grows', () => {
    start();
    fs.writeFile('/a', new Uint8Array(6000).fill(7));
    fs.create('/b');
    fs.clone('/a', 0, '/b', 0, 6000);
    fs.truncate('/b', 5000);
    fs.truncate('/b', 8000);
    fs.create('/c');
    fs.clone('/a', 0, '/c', 0, 6000);
    fs.write('/c', 9000, 'c');
    expect(fs.readFile('/a')).toEqual(new Uint8Array(6000).fill(7));
    expect(
      fs
        .readFile('/b')
        .subarray(5000)
        .every((byte) => byte === 0),
    ).toBe(true);
    fs.fallocate('/c', FALLOC.UNSHARE_RANGE, 0, 4096);
    fs.fallocate('/b', FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 100, 100);
    fs.fallocate('/b', FALLOC.ZERO_RANGE, 0, 4096);
    expect(fs.readFile('/a')).toEqual(new Uint8Array(6000).fill(7));
  });

  it('clones holes, over data, and inside one file', () => {
    start();
    fs.writeFile('/a', block(1, 8));
    fs.create('/h');
    fs.truncate('/h', 8 * 4096);
    fs.write('/h', 3 * 4096, block(9));
    fs.clone('/h', 0, '/a', 0, 8 * 4096);
    expect(fs.stat('/a').blocks).toBe(1);
    expect(fs.read('/a', 3 * 4096, 4096)).toEqual(block(9));
    for (let n = 1; n < 64; n *= 2) fs.clone('/a', 3 * 4096, '/a', (8 + n) * 4096, 4096);
    expect(fs.read('/a', 40 * 4096, 4096)).toEqual(block(9));
    expect(errnoOf(() => fs.clone('/a', 0, '/a', 4096, 8192))).toBe('EINVAL');
    expect(errnoOf(() => fs.clone('/a', 1, '/h', 0, 4096))).toBe('EINVAL');
  });

  it('clones terabytes of holes at once', () => {
    start();
    const GIB = 2 ** 30;
    for (const path of ['/sparse', '/target']) fs.create(path);
    fs.write('/sparse', 4096, block(1));
    fs.write('/sparse', 700 * GIB, block(2));
    fs.truncate('/sparse', 2048 * GIB);
    fs.write('/target', 300 * GIB, block(3));
    fs.write('/target', 1500 * GIB, block(4));
    const started = performance.now();
    fs.clone('/sparse', 0, '/target', 0, 2048 * GIB);
    expect(performance.now() - started).toBeLessThan(5000);
    expect(fs.stat('/target')).toMatchObject({ size: 2048 * GIB, blocks: 2 });
    expect(fs.read('/target', 4096, 4096)).toEqual(block(1));
    expect(fs.read('/target', 700 * GIB, 4096)).toEqual(block(2));
    expect(fs.read('/target', 300 * GIB, 4096)).toEqual(block(0));
  });

  it('copies bytes at odd places', () => {
    start();
    const bytes = Uint8Array.from({ length: 50_000 }, (_, n) => n % 251);
    fs.writeFile('/a', bytes);
    fs.fallocate('/a', FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 8192, 8192);
    const expected = fs.readFile('/a').slice(33, 45_033);
    fs.create('/b');
    fs.copy('/a', 33, '/b', 7, 45_000);
    expect(fs.readFile('/b').subarray(7)).toEqual(expected);
  });
});

describe('ioctls', () => {
  const u32 = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const argument = (value: number, length = 8) => {
    const bytes = new Uint8Array(length);
    new DataView(bytes.buffer).setUint32(0, value, true);
    return bytes;
  };

  it('keeps flags, and gives the kernel those it enforces', () => {
    start();
    fs.create('/f');
    fs.ioctl('/f', 0x40086602, argument(0x10 | 0x40 | 0x80), 2);
    remount();
    expect(fs.stat('/f').size).toBe(0);
    expect(u32(fs.ioctl('/f', 0x80086601))).toBe(0xd0);
    expect(fs.stat('/f').flags & (0x1000 | 0x800 | 8 | 2)).toBe(0x1000 | 0x800 | 8 | 2);
    expect(errnoOf(() => fs.ioctl('/f', 0x40086602, argument(0)))).toBe('EPERM');
    expect(errnoOf(() => fs.ioctl('/f', 0x40086602, argument(0x800000), 2))).toBe('ENOTSUP');
    expect(u32(fs.ioctl('/f', 0x801c581f, argument(0, 28)))).toBe(0x8 | 0x40 | 0x80);
    expect(errnoOf(() => fs.ioctl('/f', 0x12345678))).toBe('ENOTTY');
  });

  it('has new inodes inherit that they are not dumped', () => {
    start();
    fs.mkdir('/d');
    fs.ioctl('/d', 0x40086602, argument(0x40), 2);
    fs.create('/d/f');
    fs.symlink('f', '/d/link');
    expect(u32(fs.ioctl('/d/f', 0x80086601))).toBe(0x40);
    expect(fs.stat('/d/f').flags & 0x1000).toBe(0x1000);
    expect(fs.stat('/d/link').flags & 0x1000).toBe(0);
  });

  it('gives a new inode in an old slot another generation', () => {
    start();
    fs.create('/f');
    const { ino, generation } = fs.stat('/f');
    fs.unlink('/f');
    fs.create('/g');
    expect(fs.stat('/g').ino).toBe(ino);
    expect(u32(fs.ioctl('/g', 0x80087601))).toBe(generation + 1);
  });
});

describe('mount', () => {
  it('refuses unknown options and damaged superblocks', () => {
    start();
    fs.unmount();
    expect(errnoOf(() => kernel.mount({ options: 'bogus' }))).toBe('EINVAL');
    volume.bytes[4096 + 12] ^= 1;
    expect(errnoOf(() => kernel.mount())).toBe('EUCLEAN');
    volume.bytes[4096 + 12] ^= 1;
    volume.bytes[40] ^= 1;
    expect(errnoOf(() => kernel.mount())).toBe('EUCLEAN');
    volume.bytes[40] ^= 1;
    fs = kernel.mount({ options: 'dax' });
    expect(fs.showOptions()).toBe('dax');
  });

  it('turns read-only and back', () => {
    start();
    fs.writeFile('/f', 'x');
    fs.remount({ readOnly: true });
    expect(fs.readText('/f')).toBe('x');
    fs.remount({});
    fs.write('/f', 1, 'y');
    expect(fs.readText('/f')).toBe('xy');
  });

  it('keeps a damaged inode from being followed', () => {
    start();
    fs.writeFile('/bad', 'x');
    fs.writeFile('/good', 'y');
    const { dpp } = fs.inode('/bad');
    fs.unmount();
    const at = dpp + 33 * 4;
    const root = new DataView(volume.bytes.buffer).getUint32(at, true);
    new DataView(volume.bytes.buffer).setUint32(at, 0xfffffff0, true);
    fs = kernel.mount();
    expect(errnoOf(() => fs.readFile('/bad'))).toBe('EUCLEAN');
    expect(fs.readText('/good')).toBe('y');
    expect(volume.log.join()).toContain('is damaged');
    fs.unmount();
    new DataView(volume.bytes.buffer).setUint32(at, root, true);
    fs = kernel.mount();
  });
});
