// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { parseKtap } from './ktap.ts';

const run = `KTAP version 1
1..2
# Subtest: names
    KTAP version 1
    1..3
    # seed 1
    # 0.43 s
    ok 1 create
    # a figure: 17
    # test_readdir:12: not so: count == 1500
    not ok 2 readdir
    ok 3 leaks # SKIP this kernel has no kmemleak
not ok 1 names # exit code 1
# Subtest: data
    KTAP version 1
    1..2
    ok 1 read
`;

test('results carry their notes; a skip carries its reason', () => {
  const [names] = parseKtap(run);
  expect(names).toMatchObject({ name: 'names', ok: false, planned: 3 });
  expect(names?.tests).toEqual([
    { name: 'create', ok: true, notes: ['seed 1', '0.43 s'] },
    { name: 'readdir', ok: false, notes: ['a figure: 17', 'test_readdir:12: not so: count == 1500'] },
    { name: 'leaks', ok: true, skipped: 'this kernel has no kmemleak', notes: [] },
  ]);
});

test('a program that did not come to its end is not among the results', () => {
  expect(parseKtap(run).map((program) => program.name)).toEqual(['names']);
});
