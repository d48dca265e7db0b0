// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { coverFigures } from './figures.ts';
import { parseKtap } from './ktap.ts';

const run = (verdict: string) => `KTAP version 1
1..2
# Subtest: switch_cost
    KTAP version 1
    1..3
    # seed 1
    # pipe: 100, NOOP: 70, which is a line that is too long to stand in a mail as one line
    # 12.30 s
    ok 1 a NOOP costs no more than a pipe's round trip
    # local_cpu=1: 3 more TLB shootdowns
    ${verdict} 2 no interprocessor interrupts with VM_LOCAL_CPU, many without
    # 1 tasks: 1.02 times as many
    ok 3 throughput by tasks, with and without
ok 1 switch_cost
# Subtest: extents
    KTAP version 1
    1..1
    # read 1, with a call 2
    ok 1 cheaper than calls
ok 2 extents
`;

test('figures of a benchmark become text for the cover letter', () => {
  expect(
    coverFigures(parseKtap(run('ok')), 'on a toy'),
  ).toBe(`Measured by kernel-config/selftests/run.sh -t switch_cost -t extents, on
a toy:

 - pipe: 100, NOOP: 70, which is a line that is too long to stand in a
   mail as one line

 - local_cpu=1: 3 more TLB shootdowns

 - 1 tasks: 1.02 times as many

 - read 1, with a call 2
`);
});

test('figures that are missing, or of a test that failed, are refused', () => {
  expect(() => coverFigures(parseKtap(run('not ok')), 'on a toy')).toThrow('did not pass');
  expect(() => coverFigures([], 'on a toy')).toThrow('There is no result of');
});

test('the figures of the cover letter are there', async () => {
  const text = await readFile(join(import.meta.dirname, '../figures.txt'), 'utf8');
  expect(text).toMatch(/^# SPDX.*\n\nMeasured by .*NOOP:\s+\d.*VM_LOCAL_CPU/s);
  expect(text.split('\n').filter((line) => line.length > 72)).toEqual([]);
});
