// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { NoTreeError, obtainTree } from '../xfstests-runner/source.ts';
import { type Workload, workloadsDirectory } from './definition.ts';
import { kernelRepository } from './repository.ts';
import { programs, shared } from './workload-run.ts';

/** What a guest has to have for a workload, on this machine and there. Gives in words what cannot be had. */
export async function neededFiles(
  context: LabContext,
  { needs }: Workload,
): Promise<ReadonlyMap<string, string> | string> {
  const files = new Map([[programs, join(workloadsDirectory(context.packageRoot), 'programs')]]);
  if (needs.includes('kernel-repository')) files.set(`${shared}/kernel.git`, await kernelRepository(context));
  if (needs.includes('fsx')) {
    try {
      files.set(`${shared}/fsx`, join(await obtainTree(context), 'ltp', 'fsx'));
    } catch (error) {
      if (error instanceof NoTreeError) return error.message;
      throw error;
    }
  }
  return files;
}
