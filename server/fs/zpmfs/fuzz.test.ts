// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it } from 'vitest';
import { type FakeMount, KernelError } from '../../zt/fake-kernel.ts';
import { FALLOC } from '../../zt/fake-mount.ts';
import { checkFileSystem, memorySource } from './check.ts';
import * as f from './format.ts';
import { repairFileSystem } from './repair.ts';
import { type BlockKind, blocksByKind, putTransaction } from './test-damage.ts';
import { Random } from './test-model.ts';
import { ALL_QUOTAS } from './test-quota.ts';
import { addon, formatVolume, Volume } from './test-volume.ts';

/** ZPMFS_LONG=1 damages 20,000 images. */
const long = process.env.ZPMFS_LONG !== undefined;
const rounds = long ? 20_000 : 36;
/** ZPMFS_ROUND=n looks at one of them again, n-m at those from n to m, n- at all from n on. */
const { ZPMFS_ROUND: only } = process.env;

function isWanted(round: number): boolean {
  if (only === undefined) return true;
  const [from, to = from] = only.split('-');
  return round >= Number(from) && (to === '' || round <= Number(to));
}

const BYTES = 4 << 20;
/** Bytes on both sides of the media that nobody may touch. */
const GUARD = 64 << 10;
const GUARD_BYTE = 0xa5;

/** A file system with memory around it that must stay as it is. */
function createGuarded(): { volume: Volume; touched: () => boolean } {
  const start = addon.mmapAnonymous(BYTES + 2 * GUARD);
  const volume = new Volume(start + GUARD, BYTES, 1);
  formatVolume(volume);
  const guards = [start, start + GUARD + BYTES].map((at) =>
    new Uint8Array(addon.external(at, GUARD)).fill(GUARD_BYTE),
  );
  const expected = new Uint8Array(GUARD).fill(GUARD_BYTE);
  return { volume, touched: () => guards.some((guard) => Buffer.compare(guard, expected) !== 0) };
}

/** A file system with something of everything. */
function populate(volume: Volume): void {
  const fs = volume.kernel.mount({ options: ALL_QUOTAS });
  for (let id = 0; id < 60; id++) fs.setQuota(id % 3, id, { spaceHard: 1e9, inodesSoft: 1 });
  fs.mkdir('/d');
  fs.mkdir('/d/e');
  for (let n = 0; n < 40; n++) fs.create(`/d/${'name'.repeat(30)}${n}`);
  fs.writeFile('/d/f', new Uint8Array(50_000).fill(1));
  fs.create('/d/sparse');
  fs.write('/d/sparse', 2_200_000, 'far');
  fs.clone('/d/f', 0, fs.create('/d/clone'), 0, 50_000);
  fs.symlink('t'.repeat(500), '/d/long');
  fs.symlink('short', '/short');
  fs.setxattr('/d/f', 'user.big', new Uint8Array(6000));
  fs.setxattr('/d', 'user.small', 'value');
  fs.mknod('/device', 0o020600, 0x0103);
  fs.unmount();
}

function tolerate(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
  }
}

/** Touch everything; errors are fine, exceptions and endless loops are not. */
function exercise(fs: FakeMount): void {
  let visits = 0;
  const visit = (path: string, depth: number): void => {
    if (depth > 4 || visits++ > 100) return;
    tolerate(() => {
      const inode = fs.inode(path);
      fs.listxattr(inode).forEach((name) => void fs.getxattr(inode, name));
      if (inode.isDirectory) {
        let names: string[] = [];
        tolerate(() => {
          names = fs.list(inode);
        });
        for (const name of names.slice(0, 60)) visit(`${path === '/' ? '' : path}/${name}`, depth + 1);
      } else if ((inode.mode & 0o170000) === 0o120000) {
        tolerate(() => void fs.readlink(inode));
      } else if ((inode.mode & 0o170000) === 0o100000) {
        tolerate(() => void fs.read(inode, 0, 70_000));
        tolerate(() => void fs.seek(inode, 0, 'data'));
        tolerate(() => void fs.fiemap(inode));
        tolerate(() => void fs.write(inode, 3000, new Uint8Array(9000)));
        tolerate(() => fs.fallocate(inode, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 5000, 20_000));
        tolerate(() => fs.truncate(inode, 1234));
      }
    });
  };
  visit('/', 0);
  tolerate(() => fs.rename('/d/f', '/d/e/g'));
  for (const path of ['/d/clone', '/d/sparse', '/d/long', '/d/e/g', '/short'])
    tolerate(() => fs.unlink(path));
  for (let n = 0; n < 40; n++) tolerate(() => fs.unlink(`/d/${'name'.repeat(30)}${n}`));
  for (let n = 0; n < 20; n++) tolerate(() => void fs.writeFile(`/new${n}`, new Uint8Array(20_000)));
}

/** The most that damage may do: a file system that cannot be told from none. */
function isBeyondRepair(words: Uint32Array): boolean {
  const { superblock, table } = checkFileSystem(memorySource(new Uint8Array(words.buffer)));
  return superblock === null || table === null;
}

/** Look at a damaged image in every way; returns whether fsck found something. `what` is damaged goes with errors. */
function attempt(volume: Volume, repaired: Volume, what: string): boolean {
  try {
    return lookEveryWay(volume, repaired);
  } catch (error) {
    throw new Error(`${what}: ${error instanceof Error ? error.stack : String(error)}`);
  }
}

function lookEveryWay(volume: Volume, repaired: Volume): boolean {
  const { kernel } = volume;
  const damaged = volume.bytes.slice();
  const found = checkFileSystem(memorySource(volume.bytes)).problems.length;
  let fs: FakeMount | null = null;
  tolerate(() => {
    fs = kernel.mount({ options: ALL_QUOTAS });
  });
  if (fs !== null) {
    const mounted: FakeMount = fs;
    exercise(mounted);
    tolerate(() => mounted.unmount());
  }
  expect(kernel.reports).toEqual([]);
  // Repair comes to an end with a file system that mounts, works and is clean.
  const { result } = repairFileSystem(memorySource(damaged));
  if (isBeyondRepair(new Uint32Array(damaged.buffer))) return found > 0;
  expect(result.problems.map(String)).toEqual([]);
  volume.bytes.set(damaged);
  const good = repaired.kernel.mount({ options: ALL_QUOTAS });
  exercise(good);
  good.unmount();
  expect(checkFileSystem(memorySource(volume.bytes)).problems.map(String)).toEqual([]);
  return found > 0;
}

const KINDS: readonly BlockKind[] = [
  'superblock',
  'device table',
  'inodes',
  'directory leaf',
  'directory node',
  'map node',
  'journal',
  'attributes',
];

describe('damaged media', () => {
  it(`${rounds} images give errors, never more, and can be repaired`, { timeout: 7_200_000 }, () => {
    const source = createGuarded().volume;
    populate(source);
    const byKind = blocksByKind(source.bytes);
    for (const kind of KINDS) expect(byKind.get(kind)?.length ?? 0, kind).toBeGreaterThan(0);
    const everywhere = [...byKind.values()].flat();
    const { volume, touched } = createGuarded();
    const repaired = volume.reopen();
    let fresh = volume;
    const random = new Random(5);
    const words = new Uint32Array(volume.bytes.buffer, volume.bytes.byteOffset, BYTES / 4);
    let found = 0;
    let seen = 0;
    for (let round = 0; round < rounds; round++) {
      // A mount whose unmount failed stays in that kernel: take a new one now and then.
      if (round % 50 === 0) fresh = volume.reopen();
      volume.bytes.set(source.bytes);
      // Round by round each kind of block, then any.
      const kind = KINDS[round % (KINDS.length + 1)];
      const blocks = kind === undefined ? everywhere : (byKind.get(kind) ?? []);
      const what: string[] = [];
      // A transaction that was written in full, to be damaged or to lead astray.
      if (kind === 'journal') {
        const at = random.pick(everywhere);
        putTransaction(volume.bytes, random.next(4), [
          {
            block: random.next(8) === 0 ? random.next(2 ** 31) : at,
            word: random.next(1024),
            values: [random.next(1000)],
          },
        ]);
        what.push(`a transaction on block ${at}`);
      }
      const changes = kind === 'journal' ? random.next(2) : 1 + random.next(4);
      for (let count = changes; count > 0; count--) {
        const at = random.pick(blocks) * f.BLOCK_WORDS + random.next(random.pick([8, 64, 1024]));
        const value = random.pick([
          0,
          1,
          0xffffffff,
          random.next(1024),
          words[at] ^ (1 << random.next(32)),
          words[at] + 1,
        ]);
        words[at] = value;
        what.push(`block ${Math.floor(at / 1024)} word ${at % 1024} = ${value >>> 0}`);
      }
      if (!isWanted(round)) continue;
      seen++;
      if (attempt(fresh, repaired, `round ${round}, ${kind ?? 'anywhere'}: ${what.join(', ')}`)) found++;
      expect(touched(), `round ${round}: memory beside the media`).toBe(false);
    }
    process.stdout.write(`damaged media: ${seen} images, fsck found something in ${found}\n`);
    // The rest hit names, times, free room and what the media do not vouch for.
    expect(found).toBeGreaterThan(seen / 4);
  });

  it('pointers to the wrong places are not followed', { timeout: 600_000 }, () => {
    const source = createGuarded().volume;
    populate(source);
    const fs = source.kernel.mount();
    const paths = long ? ['/d', '/d/f', '/d/sparse', '/d/clone', '/d/long', '/'] : ['/d', '/d/f', '/'];
    const inodes = paths.map((path) => fs.inode(path).dpp / 4);
    fs.unmount();
    const { volume } = createGuarded();
    const repaired = volume.reopen();
    const words = new Uint32Array(volume.bytes.buffer, volume.bytes.byteOffset, BYTES / 4);
    const targets = [0, 1, 3, 70, 1023, 1024, 0x7fffffff, 0xffffffff];
    for (const inode of inodes) {
      for (const field of [
        f.I_DIR_ROOT,
        f.I_DIR_ROOT + 1,
        f.I_SIZE,
        f.I_SIZE + 1,
        f.X_MAP_ROOT,
        f.X_MAP_HEIGHT,
        f.X_XATTR_BLOCK,
        f.X_XATTR_BLOCKS,
      ]) {
        for (const target of long ? targets : [targets[field % targets.length]]) {
          volume.bytes.set(source.bytes);
          words[inode + field] = target;
          attempt(volume, repaired, `inode at ${inode}, field ${field} = ${target}`);
        }
      }
    }
  });
});
