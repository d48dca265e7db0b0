// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { fileSystemProfile } from './filesystems.ts';
import { localConfig } from './local-config.ts';

/** What a shell has in its variables after sourcing `text`. */
function sourced(text: string, ...names: string[]): string[] {
  const print = names.map((name) => `printf '%s\\n' "$${name}"`).join('; ');
  return execFileSync('bash', ['-c', `eval "$1"; ${print}`, 'bash', text], { encoding: 'utf8' })
    .split('\n')
    .slice(0, -1);
}

const devices = { test: ['/dev/pmem0', '/dev/pmem2'], scratch: ['/dev/pmem1', '/dev/pmem3'] };

test('zpmfs: first devices mounted, the others given to mkfs of scratch', () => {
  const text = localConfig({
    fileSystem: fileSystemProfile('zpmfs'),
    devices,
    testDirectory: '/mnt/test',
    scratchMount: '/mnt/scratch',
    resultBase: '/results',
    kmemleak: false,
    soak: undefined,
  });
  expect(sourced(text, 'FSTYP', 'TEST_DEV', 'SCRATCH_DEV', 'USE_KMEMLEAK', 'KEEP_DMESG')).toEqual([
    'zpmfs',
    '/dev/pmem0',
    '/dev/pmem1',
    '',
    'yes',
  ]);
  expect(sourced(text, 'MKFS_OPTIONS')[0]).toContain('/dev/pmem3');
  expect(sourced(text, 'MKFS_OPTIONS')[0]).not.toContain('/dev/pmem2');
});

test('ext4 with dax: both mount option variables are the same; words survive the shell', () => {
  const text = localConfig({
    fileSystem: fileSystemProfile('ext4-dax'),
    devices,
    testDirectory: "/mnt/it's a $test",
    scratchMount: '/mnt/scratch',
    resultBase: '/results',
    kmemleak: true,
    soak: 90,
  });
  const [fstyp, options, testOptions, directory, leak, soak] = sourced(
    text,
    'FSTYP',
    'MOUNT_OPTIONS',
    'TEST_FS_MOUNT_OPTS',
    'TEST_DIR',
    'USE_KMEMLEAK',
    'SOAK_DURATION',
  );
  expect([fstyp, directory, leak, soak]).toEqual(['ext4', "/mnt/it's a $test", 'yes', '90']);
  expect(options).toContain('dax');
  expect(testOptions).toBe(options);
});

test('an unknown file system is named, with those there are', () => {
  expect(() => fileSystemProfile('minix')).toThrow(/minix/);
});
