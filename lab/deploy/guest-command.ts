// SPDX-License-Identifier: BSD-3-Clause

import type { GuestExecOptions, GuestResult, Vm } from '../vm/vm.ts';
import { GuestCommandError } from './failure.ts';

/** Run a program in the guest that has to succeed; `what` says in the error what it was for. */
export async function mustRun(
  vm: Vm,
  what: string,
  command: readonly string[],
  options: GuestExecOptions = {},
): Promise<GuestResult> {
  const result = await vm.exec(command, options);
  if (result.exitCode !== 0) throw new GuestCommandError(what, command, result);
  return result;
}
