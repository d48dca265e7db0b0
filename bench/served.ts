// SPDX-License-Identifier: BSD-3-Clause

/** What zuf counts of the operations that it sends to the server (`debugfs`, `zuf/operations`). */

import { LabError } from '../lab/errors.ts';
import { OP } from '../server/abi/layout.ts';
import type { Served } from './samples.ts';

export const operationsFile = '/sys/kernel/debug/zuf/operations';

const columns = 'op count errors mean_ns queued_ns switch_ns server_ns back_ns';

const names = new Map(
  Object.entries(OP).map(([name, number]) => [number as number, name.replace('ZUFS_OP_', '')]),
);

export function parseOperations(text: string): Served[] {
  const [head, ...lines] = text.trim().split('\n');
  if (head !== columns) throw new LabError(`${operationsFile} of this kernel reads otherwise: ${head}.`);
  return lines.map((line) => {
    const [operation, count, , , queuedNs, switchNs, serverNs, backNs] = line.split(' ').map(Number);
    return {
      operation: names.get(operation) ?? `${operation}`,
      count,
      queuedNs,
      switchNs,
      serverNs,
      backNs,
    };
  });
}
