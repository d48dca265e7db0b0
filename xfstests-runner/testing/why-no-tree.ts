// SPDX-License-Identifier: BSD-3-Clause

import { defaultCacheRoot } from '../../lab/paths.ts';
import { HostRuntime } from '../../lab/runtime/host.ts';
import { testLabContext } from '../../lab/testing/lab-context.ts';
import type { TestLabs } from '../../lab/testing/test-lab.ts';
import { NoTreeError, obtainTree } from '../source.ts';

/**
 * Why there is no xfstests tree, in words, to skip a test with; undefined when there is one. One that is not built is built here.
 */
export async function whyNoTree(labs: TestLabs): Promise<string | undefined> {
  await using runtime = new HostRuntime('test', labs.stateRoot);
  const cacheRoot = defaultCacheRoot(process.env);
  try {
    await obtainTree(await testLabContext({ runtime, cacheRoot, stateDir: labs.stateRoot }));
    return undefined;
  } catch (error) {
    if (error instanceof NoTreeError) return error.message;
    throw error;
  }
}
