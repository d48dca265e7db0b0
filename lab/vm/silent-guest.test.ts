// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { vcpuLines } from './silent-guest.ts';

test('a vCPU that waits is told from one that runs with its interrupts off', () => {
  const registers = [
    'CPU#0',
    'RAX=0000000000000000 RBX=0000000000000000',
    'RIP=ffffffff81906487 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1',
    '',
    'CPU#1',
    'RIP=ffffffff81000010 RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0',
  ].join('\r\n');
  expect(vcpuLines(registers)).toEqual([
    'vCPU 0: at ffffffff81906487, waiting for an interrupt',
    'vCPU 1: at ffffffff81000010, interrupts off',
  ]);
});
