// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../lab/paths.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { fileSystemProfile, sourceOf } from './filesystems.ts';
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
    fileSystem: fileSystemProfile('zpmfs', packageRoot),
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
    fileSystem: fileSystemProfile('ext4-dax', packageRoot),
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
  expect(() => fileSystemProfile('minix', packageRoot)).toThrow(/minix/);
});

test('a file system of the user’s own: one entry in a YAML file, which may also replace one of ours', async () => {
  const directory = await scratchDirectory();
  const file = join(directory, 'mine.yaml');
  writeFileSync(
    file,
    'filesystems:\n  - { name: ext4-plain, type: ext4, options: data=journal, mkfs: [-b, "1024"] }\n  - { name: tmpfs, type: tmpfs, options: size=1G, devices: false }\n',
  );
  const profile = fileSystemProfile('ext4-plain', packageRoot, [file]);
  expect(profile).toMatchObject({ fstyp: 'ext4', mountOptions: '-o data=journal', needsServer: false });
  expect(profile.mkfsOptions(devices.test)).toEqual(['-b', '1024']);
  const replaced = fileSystemProfile('tmpfs', packageRoot, [file]);
  expect(replaced).toMatchObject({ mountOptions: '-o size=1G', formatted: false });
  expect([sourceOf(replaced, devices, 'test'), sourceOf(replaced, devices, 'scratch')]).toEqual([
    'tmpfs_test',
    'tmpfs_scratch',
  ]);
});

test('a description that is none is refused with file and field', async () => {
  const file = join(await scratchDirectory(), 'mine.yaml');
  writeFileSync(file, 'filesystems:\n  - { name: mine, tpye: ext4 }\n');
  expect(() => fileSystemProfile('mine', packageRoot, [file])).toThrow(/mine\.yaml: filesystems\.0/);
});
