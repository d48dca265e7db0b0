// SPDX-License-Identifier: BSD-3-Clause

import type { RunReport, TestOutcome } from './verdict.ts';

/** What came to its verdict on each of the machines of a run. */
export class NodeCounts {
  readonly #counts = new Map<string, { readonly tests: number; readonly seconds: number }>();

  add(node: string, { seconds }: TestOutcome): void {
    const before = this.#counts.get(node) ?? { tests: 0, seconds: 0 };
    this.#counts.set(node, { tests: before.tests + 1, seconds: before.seconds + seconds });
  }

  /** Empty when all was on this machine. */
  forReport(): Pick<RunReport, 'nodes'> {
    if (this.#counts.size === 0) return {};
    return { nodes: [...this.#counts].map(([node, count]) => ({ node, ...count })) };
  }
}
