// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { FLAG } from '../../abi/layout.ts';
import type { FakeMount } from '../../zt/fake-kernel.ts';
import { FALLOC, RENAME } from '../../zt/fake-mount.ts';
import { CrashError, type CrashOptions, CrashRun } from './test-crash.ts';
import type { MediaEvent } from './test-media.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

/** ZPMFS_LONG=1 looks at many more images. */
const long = process.env.ZPMFS_LONG !== undefined;

const bytes = (length: number, value: number) => new Uint8Array(length).fill(value);

/** Every kind of change that there is. */
const SCRIPT: readonly [name: string, action: (fs: FakeMount) => void][] = [
  ['create', (fs) => void fs.create('/file')],
  ['mkdir', (fs) => void fs.mkdir('/directory')],
  ['create in a new directory', (fs) => void fs.create('/directory/first')],
  ['write', (fs) => void fs.write('/file', 100, bytes(9000, 1))],
  ['overwrite', (fs) => void fs.write('/file', 0, bytes(5000, 2))],
  ['append inside the last block', (fs) => void fs.write('/file', 9100, bytes(50, 3))],
  ['write behind the end', (fs) => void fs.write('/file', 20_000, bytes(100, 4))],
  ['truncate down', (fs) => fs.truncate('/file', 6000)],
  ['truncate up', (fs) => fs.truncate('/file', 15_000)],
  ['symlink', (fs) => void fs.symlink('short', '/short')],
  ['long symlink', (fs) => void fs.symlink('long/'.repeat(200), '/long')],
  ['link', (fs) => fs.link('/file', '/directory/link')],
  ['chmod', (fs) => fs.chmod('/file', 0o600)],
  ['setxattr inline', (fs) => fs.setxattr('/file', 'user.a', 'value')],
  ['setxattr in blocks', (fs) => fs.setxattr('/file', 'user.b', bytes(6000, 5))],
  ['removexattr', (fs) => fs.removexattr('/file', 'user.b')],
  ['rename', (fs) => fs.rename('/file', '/directory/renamed')],
  ['rename over', (fs) => fs.rename('/directory/first', '/directory/link')],
  ['mkdir to move', (fs) => void fs.mkdir('/directory/inner')],
  ['rename a directory', (fs) => fs.rename('/directory/inner', '/inner')],
  ['exchange', (fs) => fs.rename('/inner', '/directory/renamed', RENAME.EXCHANGE)],
  ['whiteout', (fs) => fs.rename('/short', '/shorter', RENAME.WHITEOUT)],
  ['allocate', (fs) => fs.fallocate('/inner', 0, 10_000, 50_000)],
  ['write to allocated', (fs) => void fs.write('/inner', 30_000, bytes(10_000, 6))],
  [
    'mmap and fsync',
    (fs) => {
      fs.mmapWrite('/inner', 50_000, bytes(1000, 7));
      fs.sync('/inner');
    },
  ],
  [
    'get blocks ahead',
    (fs) => {
      const end = Math.ceil(fs.inode('/inner').size / 4096) * 4096;
      fs.putBlocks(fs.getBlocks('/inner', end, 16 * 4096, FLAG.ZUFS_RW_WRITE | FLAG.ZUFS_RW_AHEAD).reply);
    },
  ],
  [
    'append there and fsync',
    (fs) => {
      fs.appendAhead('/inner', bytes(9000, 7), 16);
      fs.sync('/inner');
    },
  ],
  ['give back what is ahead', (fs) => fs.dropAhead('/inner', 40)],
  ['punch', (fs) => fs.fallocate('/inner', FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 31_000, 9000)],
  ['zero', (fs) => fs.fallocate('/inner', FALLOC.ZERO_RANGE, 100, 12_000)],
  ['collapse', (fs) => fs.fallocate('/inner', FALLOC.COLLAPSE_RANGE, 4096, 8192)],
  ['insert', (fs) => fs.fallocate('/inner', FALLOC.INSERT_RANGE, 8192, 4096)],
  ['create to clone', (fs) => void fs.create('/clone')],
  ['clone', (fs) => fs.clone('/inner', 0, '/clone', 0, 40_960)],
  ['write to shared', (fs) => void fs.write('/clone', 30_000, bytes(3000, 8))],
  ['truncate shared', (fs) => fs.truncate('/clone', 26_000)],
  ['copy', (fs) => fs.copy('/inner', 100, '/clone', 50, 20_000)],
  ['unshare', (fs) => fs.fallocate('/clone', FALLOC.UNSHARE_RANGE, 0, 20_000)],
  ['set flags', (fs) => void fs.ioctl('/clone', 0x40086602, Uint8Array.of(0x40, 0, 0, 0, 0, 0, 0, 0))],
  ['tmpfile', (fs) => void fs.write(fs.tmpfile(), 0, bytes(5000, 9))],
  ['link a tmpfile', (fs) => fs.link(fs.tmpfile(), '/named')],
  ['unlink', (fs) => fs.unlink('/clone')],
  ['rmdir', (fs) => fs.rmdir('/directory/renamed')],
  ['unlink without blocks', (fs) => fs.unlink('/named')],
  ['create in its slot', (fs) => void fs.create('/again')],
];

/** Enough names to split leaves, in fewer steps. */
function fillDirectory(run: CrashRun, count: number): void {
  run.quietly((fs) => {
    fs.mkdir('/many');
    for (let n = 0; n < count; n++) fs.create(`/many/${'n'.repeat(200)}${n}`);
  });
}

function runScript(options: CrashOptions): CrashRun {
  const run = new CrashRun(options);
  for (const [name, action] of SCRIPT) run.step(name, action);
  return run;
}

/** What stops the script, or null. */
function firstFailure(options: CrashOptions): string | null {
  try {
    runScript({ samples: 4, ...options });
    return null;
  } catch (error) {
    if (error instanceof CrashError) return error.message;
    throw error;
  }
}

/** Drop the n-th event of a kind in every operation. */
function dropNth(kind: MediaEvent['kind'], n: number) {
  return (events: readonly MediaEvent[]): readonly MediaEvent[] => {
    let seen = 0;
    return events.filter((event) => event.kind !== kind || ++seen !== n);
  };
}

describe('power failures', () => {
  it('leave every operation done or not done', { timeout: 600_000 }, () => {
    const run = runScript({ samples: long ? 40 : 1, extremes: long, recoveryEvery: long ? 4 : 16 });
    expect(run.images).toBeGreaterThan(200);
  });

  it('leave directories whole while their leaves split', { timeout: 600_000 }, () => {
    const run = new CrashRun({ samples: 1 });
    fillDirectory(run, 17);
    for (let n = 0; n < (long ? 60 : 4); n++) {
      run.step(`create ${n}`, (fs) => void fs.create(`/many/${'m'.repeat(220)}${n}`));
    }
    for (let n = 0; n < (long ? 17 : 2); n++)
      run.step('unlink', (fs) => fs.unlink(`/many/${'n'.repeat(200)}${n}`));
    expect(run.images).toBeGreaterThan(20);
  });

  it('spare what another CPU did just before', { timeout: 600_000 }, () => {
    const run = new CrashRun({ samples: 1, cpus: 3 });
    for (let n = 0; n < (long ? 60 : 6); n++) {
      run.kernel.cpu = n % 3;
      run.step(`create ${n}`, (fs) => void fs.create(`/f${n}`));
      run.kernel.cpu = (n + 1) % 3;
      run.step(`rename ${n}`, (fs) => fs.rename(`/f${n}`, `/g${n}`));
    }
    expect(run.images).toBeGreaterThan(100);
  });

  it('spare what takes the slot of an inode that another CPU freed', { timeout: 600_000 }, () => {
    const run = new CrashRun({ samples: 1, cpus: 3 });
    for (let n = 0; n < (long ? 60 : 6); n++) {
      // A CPU takes the first slot that is free where it took one last.
      run.kernel.cpu = n % 3;
      run.step(`create ${n}`, (fs) => void fs.create(`/f${n}`));
      const freed = run.fs.inode(`/f${n}`).cookie;
      run.kernel.cpu = (n + 1) % 3;
      run.step(`unlink ${n}`, (fs) => fs.unlink(`/f${n}`));
      run.kernel.cpu = n % 3;
      run.step(`create again ${n}`, (fs) => void fs.create(`/g${n}`));
      expect(run.fs.inode(`/g${n}`).cookie).toBe(freed);
    }
    expect(run.images).toBeGreaterThan(100);
  });
});

describe('mistakes are found', () => {
  it('the first fence is missing: data and journal may arrive in any order', () => {
    expect(firstFailure({ mutate: dropNth('fence', 1), only: ['write'] })).not.toBeNull();
  });

  it('the fence between journal and change is missing', () => {
    // Operations without data start with it.
    expect(firstFailure({ mutate: dropNth('fence', 1), only: ['rename'] })).not.toBeNull();
  });

  it('a write-back is missing', () => {
    expect(firstFailure({ mutate: dropNth('writeBack', 1), only: ['link'] })).not.toBeNull();
    expect(firstFailure({ mutate: dropNth('writeBack', 2), only: ['rename over'] })).not.toBeNull();
    expect(
      firstFailure({ mutate: dropNth('writeBack', 1), only: ['append inside the last block'] }),
    ).not.toBeNull();
  });

  it('the change is stored before the journal', () => {
    const swap = (events: readonly MediaEvent[]): readonly MediaEvent[] => {
      const journal = events.findIndex((event) => event.kind === 'nonTemporal');
      const change = events.findIndex((event, index) => index > journal && event.kind === 'store');
      if (journal < 0 || change < 0) return events;
      const swapped = [...events];
      [swapped[journal], swapped[change]] = [swapped[change], swapped[journal]];
      return swapped;
    };
    expect(firstFailure({ mutate: swap, only: ['mkdir to move'] })).not.toBeNull();
  });

  const bypassed: readonly [operation: string, step: string][] = [
    ['NEW_INODE', 'create in a new directory'],
    ['RENAME', 'rename a directory'],
    ['REMOVE_DENTRY', 'unlink'],
    ['ADD_DENTRY', 'link'],
    ['WRITE', 'write'],
    ['XATTR_SET', 'setxattr in blocks'],
    ['FALLOCATE', 'truncate down'],
    ['CLONE', 'clone'],
  ];
  for (const [operation, step] of bypassed) {
    it(`${operation} skips the journal`, () => {
      expect(firstFailure({ bypass: new Set([operation]), only: [step], samples: 20 })).not.toBeNull();
    });
  }

  it('and without one, nothing is found', () => {
    expect(
      firstFailure({ only: ['write', 'rename', 'link', 'mkdir to move', 'clone'], samples: 4 }),
    ).toBeNull();
  });
});
