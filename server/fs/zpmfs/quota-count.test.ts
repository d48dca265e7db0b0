// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { FALLOC, type FakeMount, RENAME } from '../../zt/fake-mount.ts';
import { ModelRun, Random } from './test-model.ts';
import { ALL_QUOTAS, allQuotas, outcomeOf, setProject, usageSeen, usageTold } from './test-quota.ts';
import { checkMemory, createVolume } from './test-volume.ts';

vi.setConfig({ testTimeout: 120_000 });

const OWNERS = [0, 1, 1000, 0x80000001, 0xfffffffe];

function somePaths(fs: FakeMount, path = ''): string[] {
  return fs.list(path === '' ? '/' : path).flatMap((name) => {
    const child = `${path}/${name}`;
    return fs.inode(child).isDirectory ? [child, ...somePaths(fs, child)] : [child];
  });
}

describe('what owners have', () => {
  for (let seed = 0; seed < 3; seed++) {
    it(`is what the files of random work have, before and after mounts and server deaths, seed ${seed}`, () => {
      let volume = createVolume(48 << 20, 2);
      let fs = volume.kernel.mount({ options: ALL_QUOTAS });
      const run = new ModelRun(seed + 50, () => fs);
      const random = new Random(seed);
      for (let step = 1; step <= 600; step++) {
        volume.kernel.cpu = step % 2;
        run.step();
        if (step % 3 === 0) {
          const path = random.pick(['/', ...somePaths(fs)]);
          if (random.next(2) === 0) fs.chown(path, random.pick(OWNERS), random.pick(OWNERS));
          else setProject(fs, path, random.pick(OWNERS));
        }
        if (step % 20 === 0) expect(usageTold(fs)).toEqual(usageSeen(fs));
        if (step % 100 !== 0) continue;
        const told = usageTold(fs);
        if (step % 200 === 0) fs.unmount();
        else volume = volume.reopen();
        expect(checkMemory(volume)).toEqual([]);
        fs = volume.kernel.mount({ options: ALL_QUOTAS });
        expect(usageTold(fs)).toEqual(told);
      }
      expect(Object.keys(usageTold(fs)).length).toBeGreaterThan(10);
      expect(volume.kernel.reports).toEqual([]);
    });

    it.each([
      ['limits', 'EDQUOT', 48 << 20],
      ['a full file system', 'ENOSPC', 3 << 20],
    ])(
      `is what they have where %s cuts work short, and never more than limits, seed ${seed}`,
      (_, refusal, size) => {
        const volume = createVolume(size);
        const fs = volume.kernel.mount({ options: ALL_QUOTAS });
        const random = new Random(seed + 7);
        for (let type = 0; type < 3 && refusal === 'EDQUOT'; type++) {
          fs.setQuota(type, 5, { spaceHard: 300_000 + type * 4096, inodesHard: 25 - type });
          fs.setQuota(type, 6, { spaceSoft: 200_000, spaceHard: 500_000 });
        }
        if (refusal === 'ENOSPC')
          fs.fallocate(fs.create('/filler'), 0, 0, fs.statfs().bavail * 4096 - 400_000);
        fs.mkdir('/d', { uid: 5, gid: 5 });
        setProject(fs, '/d', 5, { inherit: true });
        const outcomes = new Map<string, number>();
        for (let step = 0; step < 1500; step++) {
          const path = `/d/${'n'.repeat(200)}${random.next(40)}`;
          const other = `/d/${'n'.repeat(200)}${random.next(40)}`;
          const at = random.next(60) * 4096;
          const length = 1 + random.next(80_000);
          const acts = [
            () => fs.create(path, { uid: 5, gid: 6 }),
            () => fs.create(path, { uid: 6, gid: 5 }),
            () => fs.symlink('x'.repeat(1 + random.next(100)), path),
            () => fs.mkdir(path, { uid: 5, gid: 5 }),
            () => fs.write(path, at + random.next(4096), new Uint8Array(length).fill(1)),
            () => fs.write(path, at, new Uint8Array(length).fill(2)),
            () => fs.mmapWrite(path, 0, new Uint8Array(Math.min(fs.stat(path).size, 60_000)).fill(3)),
            () => fs.fallocate(path, random.pick([0, FALLOC.KEEP_SIZE, FALLOC.ZERO_RANGE]), at, length),
            () => fs.fallocate(path, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, at, length),
            () => fs.fallocate(path, FALLOC.COLLAPSE_RANGE, 4096, 8192),
            () => fs.fallocate(path, FALLOC.INSERT_RANGE, 4096, 8192),
            () => fs.clone(path, 0, other, 0, 0),
            () => fs.copy(path, 0, other, 4096, 0),
            () => fs.truncate(path, at),
            () => fs.setxattr(path, 'user.a', new Uint8Array(random.next(9000))),
            () => fs.unlink(path),
            () => fs.rmdir(path),
            () => fs.rename(path, other, random.pick([0, RENAME.EXCHANGE, RENAME.WHITEOUT])),
            () => fs.chown(path, random.pick([5, 6]), random.pick([5, 6])),
            () => setProject(fs, path, random.pick([5, 6]), { forced: false }),
          ];
          const outcome = outcomeOf(random.pick(acts));
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
          if (step % 25 !== 0) continue;
          expect(usageTold(fs)).toEqual(usageSeen(fs));
          for (let type = 0; type < 3; type++) {
            for (const { id, space, inodes, spaceHard, inodesHard } of allQuotas(fs, type)) {
              if (id === 0) continue;
              if (spaceHard > 0) expect(space).toBeLessThanOrEqual(spaceHard);
              if (inodesHard > 0) expect(inodes).toBeLessThanOrEqual(inodesHard);
            }
          }
        }
        expect(outcomes.get('OK')).toBeGreaterThan(300);
        expect(outcomes.get(refusal)).toBeGreaterThan(50);
        const told = usageTold(fs);
        fs.unmount();
        expect(checkMemory(volume)).toEqual([]);
        expect(usageTold(volume.kernel.mount({ options: ALL_QUOTAS }))).toEqual(told);
        expect(volume.kernel.reports).toEqual([]);
      },
    );
  }

  it('counts a file without a name until it is removed, by a close or by the mount after a crash', () => {
    let volume = createVolume(8 << 20);
    let fs = volume.kernel.mount({ options: 'usrquota' });
    for (const end of ['close', 'crash']) {
      const inode = fs.open(fs.create('/file', { uid: 5 }));
      fs.write(inode, 0, new Uint8Array(8192));
      fs.unlink('/file');
      expect(fs.getQuota(0, 5)).toMatchObject({ space: 8192, inodes: 1 });
      if (end === 'close') {
        fs.close(inode);
      } else {
        volume = volume.reopen();
        fs = volume.kernel.mount({ options: 'usrquota' });
      }
      expect(fs.getQuota(0, 5)).toMatchObject({ space: 0, inodes: 0 });
    }
  });

  it('is nothing for empty files and directories, and grows with a large directory', () => {
    const fs = createVolume(8 << 20).kernel.mount({ options: ALL_QUOTAS });
    fs.create('/file', { uid: 5 });
    fs.mkdir('/directory', { uid: 5 });
    fs.create('/directory/file', { uid: 6 });
    expect(fs.getQuota(0, 5)).toMatchObject({ space: 0, inodes: 2 });
    for (let index = 0; index < 60; index++) fs.create(`/directory/${'y'.repeat(200)}${index}`, { uid: 6 });
    const { space } = fs.getQuota(0, 5);
    expect(space).toBe(fs.stat('/directory').size - 4096);
    expect(space).toBeGreaterThan(8192);
    for (const name of fs.list('/directory')) fs.unlink(`/directory/${name}`);
    expect(fs.getQuota(0, 5)).toMatchObject({ space: 0, inodes: 2 });
  });

  it('goes to the project of the directory where that is inherited, for all types of files', () => {
    const fs = createVolume(8 << 20).kernel.mount({ options: 'prjquota' });
    fs.mkdir('/project');
    fs.create('/outside');
    setProject(fs, '/project', 9, { inherit: true });
    fs.mkdir('/project/sub');
    fs.writeFile('/project/sub/file', new Uint8Array(5000));
    fs.symlink('target', '/project/sub/link');
    fs.mknod('/project/sub/pipe', 0o010644);
    expect(fs.getQuota(2, 9)).toMatchObject({ space: 8192, inodes: 5 });
    // All of it stays among its kind.
    for (const name of ['file', 'link', 'pipe']) fs.rename(`/project/sub/${name}`, `/project/${name}`);
    expect(outcomeOf(() => fs.rename('/outside', '/project/inside'))).toBe('EXDEV');
    expect(outcomeOf(() => fs.link('/outside', '/project/inside'))).toBe('EXDEV');
    fs.rename('/project/pipe', '/project/piped', RENAME.WHITEOUT);
    fs.rename('/project/pipe', '/project/sub/whiteout');
    expect(fs.getQuota(2, 9)).toMatchObject({ space: 8192, inodes: 6 });
    fs.unlink('/project/sub/whiteout');
    setProject(fs, '/project/file', 0);
    expect(fs.getQuota(2, 9)).toMatchObject({ space: 0, inodes: 4 });
  });
});
