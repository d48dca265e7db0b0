// SPDX-License-Identifier: BSD-3-Clause

import type { Vm } from '../vm/vm.ts';
import { mustRun } from './guest-command.ts';
import { deployedServer } from './server.ts';

/** What runs in a guest. */
export interface GuestFacts {
  /** As `uname -r` has it. */
  readonly kernel: string;
  /** Key of the server that is deployed; empty when there is none. */
  readonly server: string;
}

/** `served`: a server is expected to be there. */
export async function guestFacts(vm: Vm, served: boolean, signal: AbortSignal): Promise<GuestFacts> {
  const { stdout } = await mustRun(vm, 'The guest does not say what it is', ['uname', '-r'], { signal });
  return { kernel: stdout.trim(), server: served ? await deployedServer(vm, signal) : '' };
}
