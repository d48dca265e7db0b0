// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { hintIfCrowded } from './in-lab.ts';

const vms = (count: number, cpus: number, accelerator: 'tcg' | 'kvm' = 'tcg') =>
  Array.from({ length: count }, () => ({ state: { accelerator, cpus } }));

test('shards with more emulated CPUs than the machine has are told of fewer', () => {
  expect(hintIfCrowded(vms(2, 2), 2)).toMatch(/^2 VMs have 4 emulated CPUs, this machine 2: .*vm\.cpus=1,/);
  expect(hintIfCrowded(vms(2, 4), 4)).toMatch(/vm\.cpus=2,/);
});

test.each([
  ['one VM alone', vms(1, 4), 2],
  ['room for all', vms(2, 2), 4],
  ['one CPU each, of which there is no fewer', vms(3, 1), 2],
  ['CPUs that are not emulated', vms(2, 4, 'kvm'), 2],
])('nothing is said of %s', (_what, all, host) => {
  expect(hintIfCrowded(all, host)).toBeUndefined();
});
