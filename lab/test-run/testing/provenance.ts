// SPDX-License-Identifier: BSD-3-Clause

import type { Provenance } from '../verdict.ts';

/** Of a run of which nobody asks what it was made with. */
export const noProvenance: Provenance = {
  kernel: '',
  flavour: 'release',
  image: '',
  server: '',
  xfstests: '',
  accelerator: 'tcg',
  cpus: 2,
};
