// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';

const mkfs = join(import.meta.dirname, '../../server/tools/bin/mkfs.zpmfs.js');
const functions = join(import.meta.dirname, 'zpmfs.sh');

/** Output of a shell with stand-ins for upstream's functions, our file sourced `times` times, then `call`. */
function run(fstyp: string, call: string, times = 1): string {
  const upstream = `
    _notrun() { echo "notrun: $*"; exit; }
    _scratch_mkfs() { echo "mkfs [$MKFS_OPTIONS] $*"; }
    _check_minimal_fs_size() { :; }
    blockdev() { echo 1073741824; }
    define() {
      _try_scratch_mkfs_sized() { _notrun "upstream's sized"; }
      _scratch_mkfs_blocksized() { _notrun "upstream's blocksized"; }
      _require_names_are_bytes() { _notrun "upstream's names"; }
      _require_quota() { _notrun "upstream's quota"; }
      _require_kernel_config() { echo "kernel with $1"; }
      _require_scsi_debug() { echo "upstream's disk $*"; }
      _filesystem_timestamp_range() { echo "upstream's range \${2:-$FSTYP}"; }
      _fstyp_has_non_default_seek_data_hole() { return 1; }
      _mkfs_dev() { echo "upstream's mkfs $*"; }
      _acl_get_max() { echo 0; }
      _label_get_max() { _notrun "upstream's label"; }
    }`;
  const source = Array.from({ length: times }, () => `define; . ${functions} || echo failed`).join('\n');
  const script = `FSTYP=${fstyp}; MKFS_OPTIONS='-f --device=/dev/pmem3'; SCRATCH_DEV=/dev/pmem1\n${upstream}\n${source}\n${call}`;
  return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim();
}

test('sized mkfs of zpmfs goes to mkfs with the size; too large or oddly blocked is notrun', () => {
  expect(run('zpmfs', '_try_scratch_mkfs_sized 268435456')).toBe('mkfs [-f] --size=268435456');
  expect(run('zpmfs', '_try_scratch_mkfs_sized 268435456 1024')).toMatch(/^notrun: .*1024/);
  // What one device does not hold may go on both.
  expect(run('zpmfs', '_try_scratch_mkfs_sized 2147483648')).toBe(
    'mkfs [-f --device=/dev/pmem3] --size=2147483648',
  );
  expect(run('zpmfs', '_try_scratch_mkfs_sized 2147487744')).toMatch(/^notrun: .*too small/);
});

test('other types get what upstream answers', () => {
  expect(run('ext4', '_try_scratch_mkfs_sized 268435456')).toBe("notrun: upstream's sized");
  expect(run('ext4', '_require_names_are_bytes')).toBe("notrun: upstream's names");
  expect(run('ext4', '_filesystem_timestamp_range /dev/x')).toBe("upstream's range ext4");
  expect(run('ext4', '_mkfs_dev /dev/loop0')).toBe("upstream's mkfs /dev/loop0");
  expect(run('ext4', '_require_scsi_debug atomic_wr')).toBe("upstream's disk atomic_wr");
});

test('answers for zpmfs', () => {
  expect(run('zpmfs', '_require_names_are_bytes; echo may run')).toBe('may run');
  expect(run('zpmfs', '_filesystem_timestamp_range')).toBe('-9223372036 9223372036');
  expect(run('zpmfs', '_filesystem_timestamp_range /dev/x ext4')).toBe("upstream's range ext4");
  expect(run('zpmfs', '_fstyp_has_non_default_seek_data_hole && echo tells holes')).toBe('tells holes');
  expect(run('zpmfs', '_scratch_mkfs_blocksized 1024')).toMatch(/^notrun: .*1024/);
  expect(run('zpmfs', '_require_scsi_debug')).toMatch(/^notrun: .*no DAX/);
  expect(run('zpmfs', '_label_get_max')).toBe('32');
  expect(run('zpmfs', '_acl_get_max')).toBe('8183');
  expect(run('zpmfs', '_mkfs_dev -q /dev/loop0')).toMatch(/^notrun: .*loop device/);
  expect(run('zpmfs', `_mkfs_dev ${functions}`)).toMatch(/^notrun: .*loop device/);
});

test('blkid reads the label of zpmfs where it lies on the device, and asks the real one for all else', () => {
  const device = join(mkdtempSync(join(tmpdir(), 'zpmfs-label-')), 'device');
  execFileSync('node', [mkfs, '-q', '--size', '8M', '--label', 'of mkfs', device]);
  try {
    expect(run('zpmfs', `blkid -s LABEL ${device}`)).toBe(`${device}: LABEL="of mkfs"`);
    const real = 'command() { echo "real $*"; }';
    expect(run('zpmfs', `${real}; blkid -p ${device}`)).toBe(`real blkid -p ${device}`);
    expect(run('ext4', `${real}; blkid -s LABEL ${device}`)).toBe(`real blkid -s LABEL ${device}`);
  } finally {
    rmSync(dirname(device), { recursive: true });
  }
});

test('quota tools are shown zpmfs as ext4, and only they are', () => {
  expect(run('zpmfs', 'QUOTA_PROG=quota; _require_quota')).toBe('kernel with CONFIG_QUOTACTL');
  expect(run('zpmfs', 'QUOTA_PROG=; _require_quota')).toMatch(/^notrun: .*not installed/);
  expect(run('ext4', 'QUOTA_PROG=quota; _require_quota')).toBe("notrun: upstream's quota");
  const stubs = `unshare() { echo "apart: \${*:6}"; }; command() { echo "real: $*"; }`;
  for (const tool of ['quotacheck', 'quotaon', 'quotaoff', 'repquota', 'setquota']) {
    expect(run('zpmfs', `${stubs}; ${tool} -u /mnt`)).toBe(`apart: ${tool} -u /mnt`);
    expect(run('ext4', `${stubs}; ${tool} -u /mnt`)).toBe(`real: ${tool} -u /mnt`);
  }
});

test('sourcing again, as tests do with upstream, changes nothing', () => {
  expect(run('zpmfs', '_filesystem_timestamp_range', 3)).toBe('-9223372036 9223372036');
  expect(run('ext4', '_filesystem_timestamp_range', 3)).toBe("upstream's range ext4");
});

test('sourcing ours again without upstream, around what timing.sh has wrapped, does not make a function call itself', () => {
  const timing = join(import.meta.dirname, 'timing.sh');
  const again = `. ${timing}; . ${functions}; . ${timing}; RESULT_BASE=/dev/null`;
  expect(run('ext4', `${again}; ulimit -s 1024; _try_scratch_mkfs_sized 268435456`)).toBe(
    "notrun: upstream's sized",
  );
  expect(run('zpmfs', `${again}; _try_scratch_mkfs_sized 268435456 2>&1`)).toMatch(
    /^mkfs \[-f\] --size=268435456/,
  );
});
