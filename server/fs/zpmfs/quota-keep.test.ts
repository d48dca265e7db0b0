// SPDX-License-Identifier: BSD-3-Clause

import { afterEach, describe, expect, it, vi } from 'vitest';
import { FLAG } from '../../abi/layout.ts';
import { type FakeMount, QUOTA } from '../../zt/fake-mount.ts';
import { memorySource } from './check.ts';
import {
  BLOCK_SIZE,
  BLOCK_WORDS,
  I_BLOCKS,
  I_INO,
  X_XATTR_BLOCK,
  X_XATTR_BLOCKS,
  XB_DATA,
  XB_NEXT,
  XB_OWNER,
} from './format.ts';
import { OWNERS_MAX, Q_SOFT, QuotaTable, SPACE } from './quota-table.ts';
import { repairFileSystem } from './repair.ts';
import { SharedState } from './shared.ts';
import { CrashRun } from './test-crash.ts';
import { Random } from './test-model.ts';
import { ALL_QUOTAS, allQuotas, outcomeOf, setProject, usageSeen, usageTold } from './test-quota.ts';
import { addon, checkMemory, createJoinable, createVolume, type Volume } from './test-volume.ts';

vi.setConfig({ testTimeout: 120_000 });

const DAY = 24 * 60 * 60;
const SHUTDOWN = 0x8004587d;

describe('limits', () => {
  it('of many owners are what they were after a mount and a server death, with others mounted in between', () => {
    let volume = createVolume(64 << 20);
    let fs = volume.kernel.mount({ options: ALL_QUOTAS });
    const random = new Random(3);
    for (let index = 0; index < 300; index++) {
      const id = index === 0 ? 0xfffffffe : index < 3 ? index : random.next(2 ** 32);
      fs.setQuota(index % 3, id, {
        spaceHard: id * 1024,
        spaceSoft: id * 512,
        inodesHard: id,
        inodesSoft: Math.floor(id / 2),
      });
    }
    fs.setxattr('/', 'user.other', 'stays');
    fs.setQuotaGrace(QUOTA.PROJECT, { spaceTimer: 600, inodesTimer: 1200 });
    const told = [0, 1, 2].map((type) => allQuotas(fs, type));
    expect(told.map((each) => each.length)).toEqual([101, 101, 101]);
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
    // Only users are counted, and the limits of the others stay.
    fs = volume.kernel.mount({ options: 'usrquota' });
    fs.setQuota(0, 0xfffffffe, { spaceHard: 5 });
    fs.unmount();
    fs = volume.kernel.mount();
    expect(fs.listxattr('/')).toEqual(['user.other']);
    fs.removexattr('/', 'user.other');
    volume = volume.reopen();
    fs = volume.kernel.mount({ options: ALL_QUOTAS });
    told[0] = told[0].map((each) => (each.id === 0xfffffffe ? { ...each, spaceHard: 5 } : each));
    expect([0, 1, 2].map((type) => allQuotas(fs, type))).toEqual(told);
    expect(fs.quotaState(QUOTA.PROJECT)).toEqual({
      accounted: true,
      enforced: true,
      spaceGrace: 600,
      inodesGrace: 1200,
      ids: 101,
    });
    expect(fs.quotaState(QUOTA.USER)).toMatchObject({ spaceGrace: 7 * DAY, inodesGrace: 7 * DAY });
  });

  it('that are taken back leave nothing', () => {
    const volume = createVolume(8 << 20);
    const fs = volume.kernel.mount({ options: 'usrquota' });
    // What somebody has is nothing to keep.
    for (let id = 1; id < 50; id++) fs.create(`/${id}`, { uid: id });
    const { bfree } = fs.statfs();
    for (let id = 1; id < 200; id++) fs.setQuota(0, id, { spaceHard: 1e6 });
    expect(fs.statfs().bfree).toBeLessThan(bfree);
    for (let id = 1; id < 200; id++) fs.setQuota(0, id, { spaceHard: 0 });
    expect(fs.statfs().bfree).toBe(bfree);
    expect(allQuotas(fs, 0).map(({ id }) => id)).toEqual(Array.from({ length: 50 }, (_, id) => id));
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });

  it('that cannot be written are not set', () => {
    const fs = createVolume(4 << 20).kernel.mount({ options: 'usrquota' });
    for (let id = 1; id < 9; id++) fs.setQuota(0, id, { inodesHard: 100 });
    // Until not even one block is left, which mapping nodes of a file would want more than.
    fs.create('/a');
    for (let id = 0; id < 40; id++) fs.create(`/${id}`);
    while (outcomeOf(() => fs.write('/a', fs.stat('/a').size, new Uint8Array(BLOCK_SIZE))) === 'OK');
    for (let id = 0; id < 40; id++) outcomeOf(() => fs.setxattr(`/${id}`, 'user.a', new Uint8Array(1000)));
    let refused = 0;
    for (let id = 8; id < 11; id++) {
      const before = fs.getQuota(0, id);
      const outcome = outcomeOf(() => fs.setQuota(0, id, { inodesHard: 200, spaceSoft: 1 }));
      if (outcome === 'OK') continue;
      refused++;
      expect(outcome).toBe('ENOSPC');
      expect(fs.getQuota(0, id)).toEqual(before);
    }
    expect(refused).toBeGreaterThan(0);
  });

  it('of tens of thousands of owners find room, and what is known of more is nothing', () => {
    const { volume, mounts } = createJoinable(64 << 20);
    let fs = volume.kernel.mount({ options: 'usrquota' });
    // All in the table, by files that change hands; then their limits at once, with the last of them.
    const inode = fs.create('/a');
    for (let id = 1; id < OWNERS_MAX + 100; id++) fs.chown(inode, id, 0);
    expect(fs.getQuota(0, OWNERS_MAX - 1)).toMatchObject({ inodes: 0 });
    expect(fs.getQuota(0, OWNERS_MAX + 99)).toMatchObject({ id: OWNERS_MAX + 99, inodes: 0 });
    expect(outcomeOf(() => fs.setQuota(0, OWNERS_MAX + 99, { spaceHard: 1 }))).toBe('ENOSPC');
    const state = new SharedState(mounts[0].shared, addon);
    const table = new QuotaTable(state, addon);
    for (let id = 1; id <= 50_000; id++) table.put(table.find(0, id), Q_SOFT, SPACE, id * 1000);
    fs.setQuota(0, 30_000, { spaceHard: 1e9 });
    fs.unmount();
    fs = volume.kernel.mount({ options: 'usrquota' });
    // Those that had nothing are forgotten.
    expect(fs.getQuota(0, OWNERS_MAX + 99)).toMatchObject({ inodes: 1 });
    for (const id of [1, 1024, 29_999, 50_000])
      expect(fs.getQuota(0, id)).toMatchObject({ spaceSoft: id * 1000, spaceHard: 0 });
    expect(fs.getQuota(0, 30_000)).toMatchObject({ spaceSoft: 3e7, spaceHard: 1e9 });
    expect(fs.getQuota(0, 50_001)).toMatchObject({ spaceSoft: 0 });
    expect(fs.quotaState(0).ids).toBe(50_002);
    expect(fs.stat('/').blocks).toBeGreaterThan(600);
    expect(fs.getQuota(0, 0).space).toBe(0);
    fs.setxattr('/', 'user.small', 'fits');
    expect(fs.listxattr('/')).toEqual(['user.small']);
    expect(outcomeOf(() => fs.setxattr('/', 'user.large', new Uint8Array(40_000)))).toBe('OK');
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
  });

  it('are there or not after a power failure, and what is counted is what there is', () => {
    const facts = (fs: FakeMount): string => {
      const told = usageTold(fs);
      const seen = usageSeen(fs);
      if (JSON.stringify(Object.entries(told).sort()) !== JSON.stringify(Object.entries(seen).sort()))
        return `${JSON.stringify(told)} of ${JSON.stringify(seen)}`;
      const limits = [0, 1, 2].flatMap((type) =>
        allQuotas(fs, type).map((owner) => ({ ...owner, space: 0, inodes: 0 })),
      );
      const owners = fs.exists('/f') ? [fs.stat('/f').uid, fs.stat('/f').gid] : [];
      return JSON.stringify([owners, limits.filter((owner) => owner.spaceHard > 0)]);
    };
    const run = new CrashRun({ mount: ALL_QUOTAS, facts, samples: 5, seed: 5 });
    run.quietly((fs) => {
      fs.writeFile('/f', new Uint8Array(9000));
      fs.mkdir('/d');
      fs.setxattr('/', 'user.other', 'a value of some length');
    });
    run.keep();
    run.step('set', (fs) => fs.setQuota(0, 5, { spaceHard: 1e6 }));
    run.step('set again', (fs) => fs.setQuota(0, 5, { spaceHard: 2e6, inodesSoft: 5 }));
    for (let id = 6; id < 9; id++)
      run.step('set more', (fs) => fs.setQuota(1, id, { spaceHard: id, inodesHard: 2 ** 40 }));
    run.step('change attributes beside', (fs) => fs.setxattr('/', 'user.other', new Uint8Array(200)));
    run.step('chown', (fs) => fs.chown('/f', 5, 6, true));
    run.step('change project', (fs) => setProject(fs, '/d', 7));
    run.step('write', (fs) => void fs.write('/f', 9000, new Uint8Array(20_000)));
    run.step('truncate', (fs) => fs.truncate('/f', 5));
    run.step('unlink', (fs) => fs.unlink('/f'));
    run.step('take back', (fs) => fs.setQuota(0, 5, { spaceHard: 0, inodesSoft: 0 }));
    expect(run.images).toBeGreaterThan(100);
  });
});

describe('fsck', () => {
  const damaged = (damage: (media: Uint32Array, root: number, file: number) => void) => {
    const volume = createVolume(8 << 20);
    let fs = volume.kernel.mount({ options: 'usrquota' });
    for (let id = 1; id < 50; id++) fs.setQuota(0, id, { spaceHard: id * 4096 });
    const file = fs.writeFile('/file', new Uint8Array(9000)).dpp / 4;
    const root = fs.root.dpp / 4;
    fs.unmount();
    expect(checkMemory(volume)).toEqual([]);
    damage(new Uint32Array(volume.bytes.buffer, volume.bytes.byteOffset), root, file);
    const { result, mended } = repairFileSystem(memorySource(volume.bytes));
    expect(result.problems.map(String)).toEqual([]);
    fs = volume.reopen().kernel.mount({ options: 'usrquota' });
    const limits = allQuotas(fs, 0).filter(({ spaceHard }) => spaceHard > 0);
    return { mended: mended.map(String).join('\n'), limits: limits.length, fs };
  };

  it('keeps limits when it mends something else', () => {
    const { mended, limits, fs } = damaged((media, _root, file) => {
      media[file + I_BLOCKS] = 77;
    });
    expect(mended).toContain('77 blocks');
    expect(limits).toBe(49);
    expect(fs.getQuota(0, 0).space).toBe(3 * 4096);
  });

  it('drops limits that make no sense, and says so', () => {
    const { mended, limits } = damaged((media, root) => {
      // The length of the first attribute.
      media[media[root + X_XATTR_BLOCK] * BLOCK_WORDS + XB_DATA] ^= 0x10;
    });
    expect(mended).toContain('limits of quotas go with it');
    expect(limits).toBe(0);
  });

  it('takes them for nothing but limits of the root', () => {
    const { mended } = damaged((media, root, file) => {
      for (let word = X_XATTR_BLOCK; word <= X_XATTR_BLOCKS; word++) {
        media[file + word] = media[root + word];
        media[root + word] = 0;
      }
      media[file + I_BLOCKS] += media[file + X_XATTR_BLOCKS];
      for (let block = media[file + X_XATTR_BLOCK]; block !== 0; ) {
        media[block * BLOCK_WORDS + XB_OWNER] = media[file + I_INO];
        block = media[block * BLOCK_WORDS + XB_NEXT];
      }
    });
    expect(mended).toContain('makes no sense');
  });
});

describe('a timer', () => {
  const exceed = (volume: Volume): { fs: FakeMount; timer: number } => {
    const fs = volume.kernel.mount({ options: 'usrquota' });
    fs.setQuota(0, 7, { spaceSoft: 4096 });
    fs.setQuotaGrace(0, { spaceTimer: 1000 });
    // A mount counts this one first, and with it alone nothing is exceeded.
    fs.create('/0', { uid: 7 });
    fs.write('/0', 0, new Uint8Array(4096));
    fs.create('/a', { uid: 7 });
    fs.write('/a', 0, new Uint8Array(8192));
    const timer = fs.getQuota(0, 7).spaceTimer;
    // What starts anew ends later.
    fs.setQuota(0, 8, { spaceSoft: 4096 });
    fs.setQuotaGrace(0, { spaceTimer: 5000 });
    return { fs, timer };
  };

  it.each([
    ['an unmount', (fs: FakeMount) => fs.unmount()],
    ['a sync of the root', (fs: FakeMount) => fs.sync('/')],
    ['a remount read-only', (fs: FakeMount) => fs.remount({ readOnly: true })],
    ['limits that were set later', (fs: FakeMount) => fs.setQuota(0, 9, { spaceSoft: 1 })],
  ])('that runs is kept by %s', (_, keep) => {
    const volume = createVolume(8 << 20);
    const { fs, timer } = exceed(volume);
    expect(timer).toBeGreaterThan(0);
    // A second one, after all that was written for the first.
    fs.create('/b', { uid: 8 });
    fs.write('/b', 0, new Uint8Array(8192));
    const second = fs.getQuota(0, 8).spaceTimer;
    keep(fs);
    later(50);
    const other = volume.reopen();
    const again = other.kernel.mount({ options: 'usrquota' });
    expect(again.getQuota(0, 7).spaceTimer).toBe(timer);
    expect(again.getQuota(0, 8).spaceTimer).toBe(second);
  });

  /** Let the clock of the server go ahead by so many seconds. */
  const later = (seconds: number): void => {
    const now = addon.clockRealtimeCoarse.bind(addon);
    vi.spyOn(addon, 'clockRealtimeCoarse').mockImplementation((address) => {
      now(address);
      const clock = new BigUint64Array(addon.external(address, 8));
      clock[0] += BigInt(seconds) * 1_000_000_000n;
    });
  };
  afterEach(() => void vi.restoreAllMocks());

  it('that a crash loses starts again', () => {
    const volume = createVolume(8 << 20);
    const fs = volume.kernel.mount({ options: 'usrquota' });
    fs.setQuota(0, 7, { spaceSoft: 4096 });
    fs.create('/a', { uid: 7 });
    fs.write('/a', 0, new Uint8Array(8192));
    const { spaceTimer } = fs.getQuota(0, 7);
    later(50);
    const again = volume.reopen().kernel.mount({ options: 'usrquota' });
    expect(again.getQuota(0, 7).spaceTimer).toBeGreaterThanOrEqual(spaceTimer + 50);
  });
});

describe('mount options', () => {
  it.each([
    ['usrquota', 'usrquota'],
    ['uquota,gquota,pquota', 'usrquota,grpquota,prjquota'],
    ['acl,gqnoenforce,uqnoenforce,pqnoenforce', 'acl,uqnoenforce,gqnoenforce,pqnoenforce'],
    ['usrquota,uqnoenforce,grpquota,quota', 'usrquota,grpquota'],
    ['usrquota,noquota', ''],
    ['noquota,prjquota', 'prjquota'],
  ])('"%s" are shown as "%s"', (given, shown) => {
    const fs = createVolume(8 << 20).kernel.mount({ options: given });
    expect(fs.showOptions()).toBe(shown);
    expect((fs.capabilities & FLAG.ZUFS_FSC_QUOTA) !== 0).toBe(shown !== '');
  });

  it('count and do not enforce, until that is asked for', () => {
    const fs = createVolume(8 << 20).kernel.mount({ options: 'uqnoenforce' });
    fs.setQuota(0, 7, { spaceHard: 4096 });
    fs.create('/a', { uid: 7 });
    fs.write('/a', 0, new Uint8Array(8192));
    expect(fs.getQuota(0, 7).space).toBe(8192);
    expect(fs.quotaState(0)).toMatchObject({ accounted: true, enforced: false });
    fs.enforceQuota(0, true);
    expect(outcomeOf(() => fs.write('/a', 8192, 'x'))).toBe('EDQUOT');
    fs.enforceQuota(0, false);
    fs.write('/a', 8192, 'x');
  });

  it('of quotas stay as they are through remounts, and what is counted with them', () => {
    const volume = createVolume(8 << 20);
    const fs = volume.kernel.mount({ options: 'usrquota,acl' });
    fs.create('/a', { uid: 7 });
    fs.remount({ readOnly: true, options: '' });
    expect(fs.showOptions()).toBe('usrquota');
    expect(outcomeOf(() => fs.setQuota(0, 7, { spaceHard: 1 }))).toBe('EROFS');
    fs.remount({ options: 'grpquota' });
    expect(volume.log.some((line) => line.includes('a remount does not change what quotas count'))).toBe(
      true,
    );
    expect(fs.showOptions()).toBe('usrquota');
    fs.create('/b', { uid: 7 });
    expect(fs.getQuota(0, 7).inodes).toBe(2);
  });
});

describe('quotactl', () => {
  it('finds owners in the order of their numbers, and none behind the last', () => {
    const fs = createVolume(8 << 20).kernel.mount({ options: 'usrquota' });
    fs.create('/a', { uid: 0xfffffffc });
    fs.setQuota(0, 12, { inodesSoft: 3 });
    fs.create('/b', { uid: 0x80000000 });
    fs.create('/c', { uid: 3 });
    fs.chown('/c', 4, 0);
    expect(allQuotas(fs, 0).map(({ id }) => id)).toEqual([0, 4, 12, 0x80000000, 0xfffffffc]);
    expect(fs.getNextQuota(0, 5)).toMatchObject({ id: 12, inodesSoft: 3, inodes: 0 });
    expect(outcomeOf(() => fs.getNextQuota(0, 0xfffffffd))).toBe('ENOENT');
  });

  it('knows nothing of types that are not counted, and zeroes of owners that are not there', () => {
    const fs = createVolume(8 << 20).kernel.mount({ options: 'usrquota' });
    expect(outcomeOf(() => fs.getQuota(1, 0))).toBe('ESRCH');
    expect(outcomeOf(() => fs.quotaState(2))).toBe('ESRCH');
    expect(outcomeOf(() => fs.getQuota(3, 0))).toBe('EINVAL');
    expect(new Set(Object.values({ ...fs.getQuota(0, 77), id: 0 }))).toEqual(new Set([0]));
    expect(
      outcomeOf(() =>
        createVolume(8 << 20)
          .kernel.mount()
          .getQuota(0, 0),
      ),
    ).toBe('ENOTSUP');
  });

  it('says EIO after a shutdown', () => {
    const fs = createVolume(8 << 20).kernel.mount({ options: 'usrquota' });
    fs.ioctl('/', SHUTDOWN, new Uint8Array(8), FLAG.ZUFS_IOC_CAP_ADMIN);
    expect(outcomeOf(() => fs.getQuota(0, 0))).toBe('EIO');
  });
});
