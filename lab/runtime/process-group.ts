// SPDX-License-Identifier: BSD-3-Clause

import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { statFields } from './process-identity.ts';

const pollMs = 50;

/** Members of a process group that still run. */
export function membersOf(group: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const fields = statFields(pid);
      return (
        fields !== undefined && fields.processGroup === group && fields.state !== 'Z' && fields.state !== 'X'
      );
    });
}

/** Send `signal` to a group; false when nobody is left to receive it. */
export function signalGroup(group: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** SIGTERM to the whole group, SIGKILL to what is left of it after `graceMs`; returns when nobody is left. */
export async function endGroup(group: number, graceMs: number): Promise<void> {
  if (!signalGroup(group, 'SIGTERM')) return;
  const deadline = performance.now() + graceMs;
  while (membersOf(group).length > 0) {
    if (performance.now() > deadline && !signalGroup(group, 'SIGKILL')) return;
    await sleep(pollMs);
  }
}
