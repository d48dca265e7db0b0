// SPDX-License-Identifier: BSD-3-Clause

import { readdirSync } from 'node:fs';
import { identify, isAlive, type ProcessIdentity, statFields } from './process-identity.ts';

/** A process and all that it started. Whoever was seen in it once stays a member, also when its parent ends before it. */
export class ProcessTree {
  readonly #members = new Map<number, ProcessIdentity>();

  constructor(root: ProcessIdentity) {
    this.#members.set(root.pid, root);
  }

  /** Pids of those that run now, with what they have started since the last look. */
  running(): number[] {
    for (const member of this.#members.values()) {
      if (!isAlive(member)) this.#members.delete(member.pid);
    }
    const children = childrenByParent();
    // Grows while it is walked.
    const pids = [...this.#members.keys()];
    for (const pid of pids) {
      for (const child of children.get(pid) ?? []) {
        const identity = this.#members.has(child) ? undefined : identify(child);
        if (identity === undefined) continue;
        this.#members.set(child, identity);
        pids.push(child);
      }
    }
    return pids;
  }
}

function childrenByParent(): Map<number, number[]> {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return Map.groupBy(pids.map(Number), (pid) => statFields(pid)?.parent ?? 0);
}
