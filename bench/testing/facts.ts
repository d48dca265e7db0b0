// SPDX-License-Identifier: BSD-3-Clause

import type { RunFacts } from '../report/results.ts';

/** Of a run of which nobody asks what it was made with. */
export const noFacts: RunFacts = {
  id: '20260102-030405-short',
  started: '2026-01-02T03:04:05.678Z',
  seconds: 60,
  matrix: 'short',
  rounds: 3,
  warmUpSeconds: 0.1,
  sampleSeconds: 1,
  kernel: 'k',
  flavour: 'release',
  image: 'i',
  server: 's',
  cpu: 'a CPU',
  hostCpus: 2,
  accelerator: 'tcg',
  qemu: '7.2.0',
  guestKernel: '6.12.0',
  clock: 'tsc',
  machines: [],
  pinned: 'each',
  options: {},
};
