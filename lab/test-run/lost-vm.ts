// SPDX-License-Identifier: BSD-3-Clause

import type { Vm, VmHealth } from '../vm/vm.ts';

/** Exit codes of a container whose program SIGKILL or SIGTERM ended. */
const killedCodes: readonly number[] = [137, 143];

/** A guest that ends QEMU itself does so with an exit code; one that nobody knows may have been either. */
export function killedFromOutside(health: VmHealth): boolean {
  if (health.state === 'node-lost') return true;
  return health.state === 'qemu-ended' && (health.code === null || killedCodes.includes(health.code));
}

/** Why a VM that something failed on is lost; undefined when it is not. */
export async function whyLost(vm: Vm): Promise<string | undefined> {
  const health = await vm.health().catch(() => undefined);
  return health === undefined || health.state === 'running' ? undefined : describeHealth(health);
}

/** One sentence on what happened to the guest, with the line of its console that says so. */
export function describeHealth(health: VmHealth): string {
  switch (health.state) {
    case 'running':
      return 'the guest runs';
    case 'panicked':
      return `the guest panicked: ${telling(health.consoleTail)}`;
    case 'qemu-ended':
      return `QEMU ended (exit code ${health.code ?? 'unknown'}): ${telling(health.consoleTail)}`;
    case 'node-lost':
      return `${health.node} is gone, or the task on it`;
    case 'unreachable':
      return `the guest does not answer: ${telling(health.consoleTail)}`;
  }
}

function telling(consoleTail: string): string {
  const lines = consoleTail.split('\n').filter((line) => line.trim() !== '');
  const alarm = lines.find((line) =>
    /Kernel panic|\bBUG:|Oops|general protection fault|kernel BUG at/.test(line),
  );
  return (alarm ?? lines.at(-1) ?? 'its console is empty').replace(/^\[\s*[\d.]+\]\s*/, '').trim();
}
