// SPDX-License-Identifier: BSD-3-Clause

/**
 * Collect what loading and warming up left behind. It would stay for good otherwise, since nothing that comes later makes V8
 * look at it; and an operation that allocates nothing then finds a heap that will never fill up.
 */
export function collectGarbage(): void {
  globalThis.gc?.();
}

/** Before the threads that are to collect their garbage are started. */
export function letThreadsCollectGarbage(): void {
  process.getBuiltinModule('node:v8').setFlagsFromString('--expose-gc');
}
