// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { packageRoot } from '../lab/paths.ts';
import { noProvenance } from '../lab/test-run/testing/provenance.ts';
import { countOutcomes, type RunReport, type TestOutcome } from '../lab/test-run/verdict.ts';
import { groupNotrun, readNotrunGroups } from './notrun-groups.ts';
import { besideMarkdown } from './report/beside.ts';

const groups = readNotrunGroups(packageRoot);

function notrun(name: string, reason: string): TestOutcome {
  return { name, status: 'notrun', seconds: 1, reason };
}

/** The group of one reason on one file system. */
function groupOf(fileSystem: string, reason: string): string {
  return groupNotrun(groups, fileSystem, [notrun('generic/001', reason)])[0].name;
}

test('reasons in the words of xfstests find their group', () => {
  for (const [reason, group] of [
    ['Cannot run tests with fsdax on flakey devices.', 'device-mapper'],
    ['This test requires a valid $LOGWRITES_DEV', 'device-mapper'],
    [
      '/sys/kernel/debug/fail_make_request  not found. Seems that CONFIG_FAULT_INJECTION_DEBUG_FS kernel config option not enabled',
      'device faults',
    ],
    ['No encryption support for zpmfs', 'encryption'],
    ['No verity support for zpmfs', 'verity'],
    ['swapfiles are not supported', 'swap files'],
    ['xfs_io exchangerange support is missing', 'exchange of ranges'],
    ['zpmfs has blocks of 4096 bytes, not 1024', 'block sizes'],
    ['write atomic not supported by this block device', 'atomic writes'],
    ['scratch device too small, 1048576 < 3145728', 'size of the device'],
    ['zpmfs is on memory, and a scsi_debug disk has no DAX', 'block device'],
    ['zpmfs is on memory, and a loop device has no DAX', 'block device'],
    ['zpmfs aligns to huge pages, not to stripes of 8192 bytes', 'stripes'],
    ['High offset ftruncate failed', 'largest files'],
    ['xfs_io chattr +x failed (old kernel/wrong fs?)', 'DAX file by file'],
    ['Require fcntl setdeleg support', 'newer kernels'],
  ])
    expect([reason, groupOf('zpmfs', reason)]).toEqual([reason, group]);
});

test('a group of one file system explains nothing on another', () => {
  const reason = 'Reflink not supported by scratch filesystem type: ext4';
  expect(groupOf('ext4-dax', reason)).toBe('reflink');
  expect(groupOf('zpmfs', reason)).toBe('unexplained');
  const quotas = 'disk quotas not supported by this filesystem type: ';
  expect(groupOf('tmpfs', `${quotas}tmpfs`)).toBe('quota');
  expect(groupOf('zpmfs', `${quotas}zpmfs`)).not.toBe('quota');
});

test('what is merely missing in the set-up is unexplained', () => {
  for (const reason of [
    'accton utility required, skipped this test',
    'fio engine libaio not available',
    'src/dbtest not built',
    'scsi_debug module not found',
  ])
    expect(groupOf('zpmfs', reason)).toBe('unexplained');
});

function report(fileSystem: string, tests: readonly TestOutcome[]): RunReport {
  return {
    run: `20260101-000000-${fileSystem}`,
    verdict: 'passed',
    counts: countOutcomes(tests),
    tests: [...tests],
    missing: [],
    problems: [],
    events: [],
    fileSystem,
    seconds: 600,
    started: '2026-01-01T00:00:00.000Z',
    shards: 1,
    provenance: noProvenance,
  };
}

test('two runs beside each other: counts, groups, what failed, what nobody has explained, and every test', () => {
  const text = besideMarkdown(
    [
      report('zpmfs', [
        { name: 'generic/001', status: 'passed', seconds: 4.2, reason: '' },
        notrun('generic/002', 'No verity support for zpmfs'),
        notrun('generic/003', 'some|thing nobody knows <here>'),
      ]),
      report('ext4-dax', [
        { name: 'generic/001', status: 'failed', seconds: 3, reason: 'output mismatch' },
        notrun('generic/002', 'No verity support for ext4'),
        { name: 'generic/003', status: 'passed', seconds: 1, reason: '' },
      ]),
    ],
    groups,
  );
  expect(text).toContain('|  | zpmfs | ext4-dax |');
  expect(text).toContain('| run | 1 | 2 |');
  expect(text).toContain('| failed | 0 | 1 |');
  expect(text).toMatch(/^\| verity \| 1 \| 1 \| the kernel's fsverity/m);
  expect(text).toMatch(/^\| unexplained \| 1 \| 0 \|/m);
  expect(text).toContain('- ext4-dax, generic/001: failed: output mismatch');
  expect(text).toMatch(/Unexplained on zpmfs:\n\n- generic\/003: some\|thing nobody knows &lt;here>/);
  expect(text).toContain('| generic/001 | 4 s | **failed** after 3 s: output mismatch |');
  expect(text).toContain('| generic/003 | not run: some\\|thing nobody knows &lt;here> | 1 s |');
});
