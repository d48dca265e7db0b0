// SPDX-License-Identifier: BSD-3-Clause

import { z } from 'zod';
import type { Vm } from '../vm/vm.ts';

export interface MountedFileSystem {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly options: string;
}

const listing = z.object({
  filesystems: z.array(
    z.object({ source: z.string(), target: z.string(), fstype: z.string(), options: z.string() }),
  ),
});

/** What is mounted in the guest from pmem, or by zus; not the guest's root, nor zuf's own control directory. */
export async function mountedFileSystems(vm: Vm, signal: AbortSignal): Promise<MountedFileSystem[]> {
  const { exitCode, stdout } = await vm.exec(
    ['findmnt', '--json', '--list', '--real', '--output', 'SOURCE,TARGET,FSTYPE,OPTIONS'],
    { signal },
  );
  // It exits 1 when nothing matches.
  if (exitCode !== 0) return [];
  return listing
    .parse(JSON.parse(stdout))
    .filesystems.filter(({ target, fstype }) => target !== '/' && fstype !== 'zuf')
    .map(({ source, target, fstype, options }) => ({ source, target, type: fstype, options }));
}
