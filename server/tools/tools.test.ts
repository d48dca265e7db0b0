// SPDX-License-Identifier: BSD-3-Clause

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { main as dump } from './dump.ts';
import { main as fsck } from './fsck.ts';
import { main as mkfs } from './mkfs.ts';
import { print, printError } from './output.ts';

vi.mock(import('./output.ts'));

let folder: string;
let output: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'zpmfs-tools-'));
  output = '';
  const take = (text: string): void => {
    output += text;
  };
  vi.mocked(print).mockImplementation(take);
  vi.mocked(printError).mockImplementation(take);
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  fs.rmSync(folder, { recursive: true });
});

const file = (name: string): string => path.join(folder, name);

describe('mkfs.zpmfs and fsck.zpmfs', () => {
  it('makes a file system in a file, which fsck finds clean', () => {
    expect(mkfs(['--size', '16M', '--label', 'home', file('a')])).toBe(0);
    expect(fs.statSync(file('a')).size).toBe(16 << 20);
    expect(fsck(['-n', file('a')])).toBe(0);
    expect(output).toContain('clean, 1 directories, 0 files');
  });

  it('wipes what an older file system left at both ends', () => {
    fs.writeFileSync(file('a'), Buffer.alloc(8 << 20, 0x5a));
    expect(mkfs(['-q', '-f', file('a')])).toBe(0);
    const bytes = fs.readFileSync(file('a'));
    expect(bytes.subarray(1080, 1082)).toEqual(Buffer.alloc(2));
    expect(bytes.subarray(-(1 << 20)).every((byte) => byte === 0)).toBe(true);
    expect(bytes.subarray(65_536, 65_536 + 72).includes(0x5a)).toBe(false);
    expect(output).toBe('');
  });

  it('overwrites a file system only when it is told to', () => {
    mkfs(['-q', '-s', '8M', '-L', 'first', file('a')]);
    expect(mkfs(['-q', '-s', '16M', file('a')])).toBe(1);
    expect(output).toContain('a: holds zpmfs; --force overwrites it');
    expect(fs.statSync(file('a')).size).toBe(8 << 20);
    expect(dump([file('a')])).toBe(0);
    expect(output).toContain('label              first');
    expect(mkfs(['-q', '-s', '16M', '-f', file('a')])).toBe(0);
    expect(fsck(['-n', file('a')])).toBe(0);
  });

  it('overwrites what blkid knows only when it is told to, also for users without /usr/sbin in their PATH', () => {
    const image = Buffer.alloc(8 << 20);
    // As mkswap(8) leaves it: version 1, a last page, the signature at the end of the first.
    image.writeUInt32LE(1, 1024);
    image.writeUInt32LE(100, 1028);
    image.write('SWAPSPACE2', 4086);
    fs.writeFileSync(file('a'), image);
    vi.stubEnv('PATH', '/usr/bin:/bin');
    expect(mkfs(['-q', file('a')])).toBe(1);
    expect(output).toContain('a: holds swap; --force overwrites it');
    expect(fs.readFileSync(file('a')).equals(image)).toBe(true);
    expect(mkfs(['-q', '-f', file('a')])).toBe(0);
    expect(fsck(['-n', file('a')])).toBe(0);
  });

  it('spreads one file system over several devices', () => {
    for (const name of ['a', 'b', 'c']) fs.writeFileSync(file(name), Buffer.alloc(4 << 20));
    expect(mkfs([`--device=${file('b')}`, '--device', file('c'), file('a')])).toBe(0);
    expect(output).toContain('zpmfs of 12 MiB');
    expect(fsck(['-n', file('a'), file('c'), file('b')])).toBe(0);
    expect(fsck(['-n', file('a'), file('b')])).toBe(8);
    expect(output).toContain('device 2 of its 3 is missing');
    expect(mkfs(['-q', file('c')])).toBe(1);
    mkfs(['-q', '-f', file('c')]);
    expect(fsck(['-n', file('a'), file('b'), file('c')])).toBe(8);
    expect(output).toContain('belongs to another file system');
  });

  it('says what is wrong, with the exit codes of fsck(8)', () => {
    expect(fsck([])).toBe(16);
    expect(fsck(['-n', file('missing')])).toBe(8);
    expect(output).toContain('missing: no such device or file');
    expect(mkfs([file('missing')])).toBe(1);
    expect(mkfs(['--size', 'huge', file('x')])).toBe(1);
    fs.writeFileSync(file('small'), Buffer.alloc(1000));
    expect(mkfs([file('small')])).toBe(1);
    expect(output).toContain('smaller than 2 MiB');
    mkfs(['-q', '-s', '8M', file('a')]);
    const fd = fs.openSync(file('a'), 'r+');
    fs.writeSync(fd, Buffer.from([0xff]), 0, 1, 4096 + 12);
    fs.closeSync(fd);
    expect(fsck(['-n', file('a')])).toBe(4);
    expect(output).toContain('checksum of the superblock is wrong');
  });

  it('mends what has a simple remedy', () => {
    mkfs(['-q', '-s', '8M', file('a')]);
    const rootInode = (3 + 4 * 16 + 1) * 4096 + 256;
    const fd = fs.openSync(file('a'), 'r+');
    // The superblock, and the link count of the root.
    fs.writeSync(fd, Buffer.from([0xff]), 0, 1, 4096 + 12);
    fs.writeSync(fd, Buffer.from([7]), 0, 1, rootInode + 4);
    fs.closeSync(fd);
    expect(fsck(['-y', '-n', file('a')])).toBe(16);
    expect(fsck(['-y', file('a')])).toBe(1);
    expect(output).toContain('checksum of the superblock is wrong: mended');
    expect(output).toContain('inode 1: has 7 links, should have 2: mended');
    expect(fsck(['-n', file('a')])).toBe(0);
    expect(fsck(['-a', file('a')])).toBe(0);
  });

  it('shows what is there, for people and for programs', () => {
    mkfs(['-q', '-s', '8M', '-L', 'my label', '-U', '01234567-89ab-cdef-0123-456789abcdef', file('a')]);
    expect(dump([file('a')])).toBe(0);
    expect(output).toContain('label              my label');
    output = '';
    expect(dump(['--json', '--inode', '1', file('a')])).toBe(0);
    const shown = JSON.parse(output);
    expect(shown.superblock.uuid).toBe('01234567-89ab-cdef-0123-456789abcdef');
    expect(shown.superblock.totalBlocks).toBe(2048);
    expect(shown.inodes[0]).toMatchObject({ number: 1, mode: '040755', links: 2 });
    expect(dump(['--inode', '77', file('a')])).toBe(1);
  });
});
