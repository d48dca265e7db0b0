// SPDX-License-Identifier: BSD-3-Clause

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Collect what loading and warming up left behind. It would stay for good otherwise, since nothing that comes later makes V8
 * look at it; and an operation that allocates nothing then finds a heap that will never fill up.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect === 'function') collect();
}
