// SPDX-License-Identifier: BSD-3-Clause

import type { Kernel } from '../kernel/build.ts';

/** So many times longer than a release kernel's is what one that checks every memory access and lock may take. */
export function patience(flavour: Kernel['flavour']): number {
  return flavour === 'release' ? 1 : 5;
}
