// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { FALLOC, type FakeMount, QUOTA } from '../../zt/fake-mount.ts';
import { outcomeOf, setProject } from './test-quota.ts';
import { createVolume } from './test-volume.ts';

vi.setConfig({ testTimeout: 60_000 });

const BLOCK = 4096;
const DAY = 24 * 60 * 60;
const seconds = () => Math.floor(Date.now() / 1000);
const blocks = (count: number) => new Uint8Array(count * BLOCK).fill(1);

function mounted(options = 'usrquota,grpquota,prjquota'): FakeMount {
  return createVolume(16 << 20).kernel.mount({ options });
}

/** Make files that belong to an owner of each type in turn, whose limits are set. */
const TYPES = [
  ['user', QUOTA.USER],
  ['group', QUOTA.GROUP],
  ['project', QUOTA.PROJECT],
] as const;

describe.each(TYPES)('the hard limit of a %s', (_, type) => {
  const prepare = (limits: Parameters<FakeMount['setQuota']>[2]): FakeMount => {
    const fs = mounted();
    fs.mkdir('/d');
    setProject(fs, '/d', 7, { inherit: true });
    fs.setQuota(type, 7, limits);
    return fs;
  };
  const create = (fs: FakeMount, name: string) => fs.create(`/d/${name}`, { uid: 7, gid: 7 });

  it('on space lets what fits be written, and not a byte more', () => {
    const fs = prepare({ spaceHard: 10 * BLOCK });
    create(fs, 'a');
    create(fs, 'b');
    expect(fs.write('/d/a', 0, blocks(7))).toBe(7 * BLOCK);
    expect(fs.write('/d/b', 100, blocks(7))).toBe(3 * BLOCK - 100);
    expect(outcomeOf(() => fs.write('/d/b', 3 * BLOCK, 'x'))).toBe('EDQUOT');
    expect(fs.getQuota(type, 7).space).toBe(10 * BLOCK);
    // What is there may be written again, also in the middle of what is not.
    expect(fs.write('/d/a', 0, blocks(7))).toBe(7 * BLOCK);
    expect(fs.write('/d/b', 2 * BLOCK, blocks(5))).toBe(BLOCK);
    expect(fs.stat('/d/b').size).toBe(3 * BLOCK);
  });

  it('on inodes refuses one more of any type', () => {
    const fs = prepare({ inodesHard: type === QUOTA.PROJECT ? 3 : 2 });
    create(fs, 'a');
    create(fs, 'b');
    expect(outcomeOf(() => create(fs, 'c'))).toBe('EDQUOT');
    expect(outcomeOf(() => fs.mkdir('/d/c', { uid: 7, gid: 7 }))).toBe('EDQUOT');
    fs.unlink('/d/a');
    create(fs, 'c');
  });

  it('holds neither for others nor for number 0', () => {
    const fs = prepare({ spaceHard: BLOCK, inodesHard: 1 });
    fs.setQuota(type, 0, { spaceHard: BLOCK, inodesHard: 1 });
    fs.writeFile('/a', blocks(4));
    fs.writeFile('/b', blocks(4));
    expect(fs.getQuota(type, 0)).toMatchObject({ spaceHard: BLOCK, inodesHard: 1 });
  });
});

describe('a soft limit', () => {
  it('may be exceeded for a time, and no longer', () => {
    const fs = mounted();
    fs.setQuota(0, 7, { spaceSoft: 2 * BLOCK, spaceHard: 5 * BLOCK });
    fs.create('/a', { uid: 7 });
    fs.write('/a', 0, blocks(2));
    expect(fs.getQuota(0, 7).spaceTimer).toBe(0);
    fs.write('/a', 2 * BLOCK, blocks(1));
    const { spaceTimer } = fs.getQuota(0, 7);
    expect(Math.abs(spaceTimer - (seconds() + 7 * DAY))).toBeLessThan(5);
    fs.write('/a', 3 * BLOCK, blocks(1));
    expect(fs.getQuota(0, 7).spaceTimer).toBe(spaceTimer);
    // The time is over.
    fs.setQuota(0, 7, { spaceTimer: seconds() - 1 });
    expect(outcomeOf(() => fs.write('/a', 4 * BLOCK, blocks(1)))).toBe('EDQUOT');
    expect(fs.write('/a', 0, blocks(4))).toBe(4 * BLOCK);
    // More of it may go, and below the limit all begins again.
    fs.truncate('/a', 3 * BLOCK);
    expect(outcomeOf(() => fs.write('/a', 3 * BLOCK, blocks(1)))).toBe('EDQUOT');
    fs.truncate('/a', BLOCK);
    expect(fs.getQuota(0, 7).spaceTimer).toBe(0);
    expect(fs.write('/a', BLOCK, blocks(3))).toBe(3 * BLOCK);
  });

  it('on inodes is timed by its own grace time', () => {
    const fs = mounted();
    fs.setQuotaGrace(1, { inodesTimer: 100 });
    fs.setQuota(1, 7, { inodesSoft: 1, inodesHard: 5 });
    fs.create('/a', { gid: 7 });
    fs.create('/b', { gid: 7 });
    expect(Math.abs(fs.getQuota(1, 7).inodesTimer - (seconds() + 100))).toBeLessThan(5);
    fs.setQuota(1, 7, { inodesTimer: 1 });
    expect(outcomeOf(() => fs.create('/c', { gid: 7 }))).toBe('EDQUOT');
    fs.setQuota(1, 7, { inodesTimer: seconds() + 50 });
    fs.create('/c', { gid: 7 });
    fs.unlink('/a');
    fs.unlink('/b');
    expect(fs.getQuota(1, 7)).toMatchObject({ inodes: 1, inodesTimer: 0 });
  });

  it('below what is in use starts the timer when it is set, and not when it is above', () => {
    const fs = mounted();
    fs.create('/a', { uid: 7 });
    fs.write('/a', 0, blocks(4));
    fs.setQuota(0, 7, { spaceSoft: 4 * BLOCK, spaceTimer: 1 });
    expect(fs.getQuota(0, 7).spaceTimer).toBe(0);
    fs.setQuota(0, 7, { spaceSoft: BLOCK });
    expect(fs.getQuota(0, 7).spaceTimer).toBeGreaterThan(seconds() + DAY);
    fs.setQuota(0, 7, { spaceSoft: 0 });
    expect(fs.getQuota(0, 7).spaceTimer).toBe(0);
  });
});

describe('at the limit', () => {
  const full = (): FakeMount => {
    const fs = mounted();
    fs.create('/a', { uid: 7 });
    fs.write('/a', 0, blocks(8));
    fs.setQuota(0, 7, { spaceHard: 8 * BLOCK });
    return fs;
  };

  it('blocks that are allocated already can be written, but none can be allocated', () => {
    const fs = full();
    fs.truncate('/a', 4 * BLOCK);
    fs.fallocate('/a', FALLOC.KEEP_SIZE, 4 * BLOCK, 4 * BLOCK);
    expect(outcomeOf(() => fs.fallocate('/a', 0, 0, 9 * BLOCK))).toBe('EDQUOT');
    expect(fs.stat('/a')).toMatchObject({ size: 4 * BLOCK, blocks: 8 });
    expect(fs.write('/a', 4 * BLOCK, blocks(4))).toBe(4 * BLOCK);
    fs.mmapWrite('/a', 0, blocks(8));
    fs.fallocate('/a', FALLOC.ZERO_RANGE, 0, 8 * BLOCK);
    expect(fs.getQuota(0, 7).space).toBe(8 * BLOCK);
  });

  it('nothing that makes room is refused', () => {
    const fs = full();
    fs.setQuota(0, 7, { spaceHard: BLOCK, inodesHard: 1 });
    fs.fallocate('/a', FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 100, 3 * BLOCK);
    fs.fallocate('/a', FALLOC.COLLAPSE_RANGE, 0, BLOCK);
    fs.fallocate('/a', FALLOC.INSERT_RANGE, 0, BLOCK);
    fs.truncate('/a', 3 * BLOCK + 5);
    fs.unlink('/a');
    expect(fs.getQuota(0, 7)).toMatchObject({ space: 0, inodes: 0 });
  });

  it('a mapping gets no block for a hole', () => {
    const fs = full();
    fs.truncate('/a', 9 * BLOCK);
    expect(outcomeOf(() => fs.mmapWrite('/a', 8 * BLOCK, blocks(1)))).toBe('EDQUOT');
  });

  it('a block that is shared is not copied, as with XFS, because it is there twice meanwhile', () => {
    const fs = full();
    fs.create('/b', { uid: 8 });
    fs.clone('/a', 0, '/b', 0, 0);
    expect(outcomeOf(() => fs.write('/a', 0, blocks(1)))).toBe('EDQUOT');
    fs.setQuota(0, 7, { spaceHard: 9 * BLOCK });
    // One at a time.
    expect(fs.write('/a', 0, blocks(2))).toBe(BLOCK);
    expect(fs.getQuota(0, 7).space).toBe(8 * BLOCK);
  });

  it('neither a clone nor attributes find room', () => {
    const fs = full();
    fs.create('/b', { uid: 7 });
    expect(outcomeOf(() => fs.clone('/a', 0, '/b', 0, BLOCK))).toBe('EDQUOT');
    expect(outcomeOf(() => fs.setxattr('/b', 'user.a', new Uint8Array(3000)))).toBe('EDQUOT');
    fs.setxattr('/b', 'user.a', 'in the inode');
    // In the place of what was there.
    fs.truncate('/a', 7 * BLOCK);
    fs.write('/b', 0, blocks(1));
    fs.clone('/a', 0, '/b', 0, BLOCK);
    expect(fs.getQuota(0, 7).space).toBe(8 * BLOCK);
  });
});

describe('another owner', () => {
  it('needs room for all of it, as user and as group, unless it is forced on him', () => {
    const fs = mounted();
    fs.writeFile('/a', blocks(4));
    fs.setQuota(0, 7, { spaceHard: 4 * BLOCK });
    fs.setQuota(1, 7, { spaceHard: 3 * BLOCK });
    expect(outcomeOf(() => fs.chown('/a', 7, 7))).toBe('EDQUOT');
    expect(fs.stat('/a')).toMatchObject({ uid: 0, gid: 0 });
    expect(fs.getQuota(0, 7).space + fs.getQuota(1, 7).space).toBe(0);
    fs.chown('/a', 7, 0);
    fs.create('/b');
    fs.write('/b', 0, blocks(1));
    expect(outcomeOf(() => fs.chown('/b', 7, 0))).toBe('EDQUOT');
    fs.chown('/b', 7, 7, true);
    expect(fs.getQuota(0, 7)).toMatchObject({ space: 5 * BLOCK, inodes: 2 });
    expect(fs.getQuota(1, 7)).toMatchObject({ space: BLOCK, inodes: 1 });
  });

  it('has it when the server dies right after', () => {
    const volume = createVolume(8 << 20);
    const fs = volume.kernel.mount({ options: 'usrquota' });
    fs.writeFile('/a', blocks(1));
    fs.chown('/a', 0xfffffffe, 9);
    const again = volume.reopen().kernel.mount();
    expect(again.stat('/a')).toMatchObject({ uid: 0xfffffffe, gid: 9 });
  });

  it('as a project is refused like any other', () => {
    const fs = mounted();
    fs.writeFile('/a', blocks(4));
    fs.setQuota(2, 7, { spaceHard: 3 * BLOCK });
    expect(outcomeOf(() => setProject(fs, '/a', 7, { forced: false }))).toBe('EDQUOT');
    expect(fs.getQuota(2, 0).space).toBe(4 * BLOCK);
    setProject(fs, '/a', 8, { forced: false });
    expect(fs.getQuota(2, 8)).toMatchObject({ space: 4 * BLOCK, inodes: 1 });
  });
});

describe('a directory whose owner has no room', () => {
  const NAME = 'y'.repeat(240);
  const prepare = (): FakeMount => {
    const fs = mounted();
    fs.mkdir('/d');
    fs.create('/file');
    for (let index = 0; index < 32; index++) fs.link('/file', `/d/${NAME}${index}`);
    fs.chown('/d', 7, 7);
    fs.setQuota(0, 7, { spaceHard: BLOCK });
    return fs;
  };

  it.each([
    ['a link', (fs: FakeMount, name: string) => fs.link('/file', name)],
    ['a new file', (fs: FakeMount, name: string) => void fs.create(name)],
    [
      'a rename',
      (fs: FakeMount, name: string) => {
        fs.create('/from');
        fs.rename('/from', name);
      },
    ],
  ])('takes names as long as they fit, and then refuses %s', (_, add) => {
    const fs = prepare();
    const { size } = fs.stat('/d');
    let added = 0;
    let outcome = 'OK';
    while (outcome === 'OK' && added < 200) {
      outcome = outcomeOf(() => add(fs, `/d/${NAME}more${added}`));
      if (outcome === 'OK') added++;
    }
    expect(outcome).toBe('EDQUOT');
    expect(fs.list('/d')).toHaveLength(32 + added);
    expect(fs.stat('/d').size).toBe(size);
    expect(fs.getQuota(0, 0).inodes).toBeLessThan(5 + added);
    fs.unlink(`/d/${NAME}3`);
  });
});
