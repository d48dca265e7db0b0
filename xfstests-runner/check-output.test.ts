// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { CheckOutput } from './check-output.ts';

const tests = ['generic/001', 'generic/002', 'generic/003', 'generic/004', 'generic/005', 'generic/006'];

/** What the reader reported for `text`, given to it in pieces of `size` characters. */
function read(text: string, size = text.length): string[] {
  const events: string[] = [];
  const reader = new CheckOutput(tests, {
    started: (name) => events.push(`start ${name}`),
    finished: (name, verdict) => events.push(`${verdict.status} ${name} ${verdict.reason}`.trim()),
  });
  for (let at = 0; at < text.length; at += size) reader.push(text.slice(at, at + size));
  reader.end();
  return events;
}

const session = `FSTYP         -- zpmfs
PLATFORM      -- Linux/x86_64 guest 6.12.0

generic/001        4s
generic/002  12s ...  11s
generic/003        [not run] this kernel has no quota
generic/004  3s ... [failed, exit status 1]- output mismatch (see /results/generic/004.out.bad)
    --- tests/generic/004.out
    +++ /results/generic/004.out.bad
    @@ -1,2 +1,2 @@
    -generic/006 is what was expected
    +Permission denied
generic/005        _check_dmesg: something found in dmesg (see /results/generic/005.dmesg)

generic/006        [expunged]
Ran: generic/001 generic/002
Failures: generic/004 generic/005
`;

const events = [
  'start generic/001',
  'passed generic/001',
  'start generic/002',
  'passed generic/002',
  'start generic/003',
  'notrun generic/003 this kernel has no quota',
  'start generic/004',
  'failed generic/004 [failed, exit status 1]- output mismatch: Permission denied',
  'start generic/005',
  'failed generic/005 _check_dmesg: something found in dmesg',
  'start generic/006',
  'expunged generic/006 expunged',
];

test('tells passes, failures, notruns and exclusions of a session', () => {
  expect(read(session)).toEqual(events);
});

test('reads the same however the stream is cut', () => {
  for (const size of [1, 2, 7, 64]) expect(read(session, size)).toEqual(events);
});

test('reports a start before its line has ended', () => {
  expect(read('generic/001        ')).toEqual(['start generic/001']);
});

test('a pass is known when its line ends, not when the next test starts', () => {
  expect(read('generic/001        4s\n')).toEqual(['start generic/001', 'passed generic/001']);
});

test('a time after a failure does not make it a pass', () => {
  expect(read('generic/001        [failed, exit status 3] 4s\n')).toContain(
    'failed generic/001 [failed, exit status 3] 4s',
  );
});

test('a file system found damaged after the test is a failure', () => {
  const text =
    'generic/001        _check_generic_filesystem: filesystem on /dev/pmem0 is inconsistent\n(see /r/001.full for details)\n';
  expect(read(text).at(-1)).toMatch(/^failed generic\/001 .*inconsistent/);
});

test('a test that is cut off has no verdict', () => {
  expect(read('generic/001        4s\ngeneric/002       Killed')).toEqual([
    'start generic/001',
    'passed generic/001',
    'start generic/002',
  ]);
});

test('a name that was not asked for, or comes twice, is no start', () => {
  const text = 'generic/001        4s\ngeneric/001 printed by a test 3s\ngeneric/777        1s\n';
  expect(read(text)).toEqual(['start generic/001', 'passed generic/001']);
});
