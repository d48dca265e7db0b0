// SPDX-License-Identifier: BSD-3-Clause

import { ConfigError } from '../lab/errors.ts';
import type { Declared } from './declared.ts';
import type { BenchFileSystem, MatrixPart, Workload } from './schema.ts';

/** One point of a matrix. */
export interface Cell {
  /** Name of the file system in results: with the part's label before it, where there is one. */
  readonly fs: string;
  readonly fileSystem: BenchFileSystem;
  readonly workload: Workload;
  readonly threads: number;
}

/** What is measured in one VM. */
export interface MachinePlan {
  readonly machine: MatrixPart['machine'];
  readonly cells: readonly Cell[];
}

/** What sets a cell apart from all others. */
export function cellKey({
  fs,
  workload,
  threads,
}: {
  readonly fs: string;
  readonly workload: string;
  readonly threads: number;
}): string {
  return `${fs} ${workload} ${threads}`;
}

export function keyOf(cell: Cell): string {
  return cellKey({ fs: cell.fs, workload: cell.workload.name, threads: cell.threads });
}

/** Every cell of the matrix, by the machine that it runs on. Parts that want the same machine share its VM. */
export function planMatrix(declared: Declared): MachinePlan[] {
  const machines = new Map<string, { machine: MatrixPart['machine']; cells: Cell[] }>();
  const seen = new Set<string>();
  for (const part of declared.matrix.parts) {
    const key = JSON.stringify(Object.entries(part.machine).sort());
    const group = machines.get(key) ?? { machine: part.machine, cells: [] };
    machines.set(key, group);
    for (const cell of cellsOf(part, declared)) {
      if (seen.has(keyOf(cell))) {
        throw new ConfigError(`The matrix ${declared.name} has ${keyOf(cell)} in two parts.`, {
          hint: 'Give one of the parts a label, which then goes before the names of its file systems.',
        });
      }
      seen.add(keyOf(cell));
      group.cells.push(cell);
    }
  }
  const plans = [...machines.values()].filter(({ cells }) => cells.length > 0);
  if (plans.length === 0) throw new ConfigError(`The matrix ${declared.name} leaves nothing to measure.`);
  return plans;
}

function cellsOf(part: MatrixPart, declared: Declared): Cell[] {
  return part.filesystems.flatMap((name) => {
    const fileSystem = required(declared.fileSystems, name);
    const fs = part.label === undefined ? name : `${part.label}:${name}`;
    return part.workloads
      .map((workload) => required(declared.workloads, workload))
      .filter((workload) => makesSense(fileSystem, workload))
      .flatMap((workload) =>
        part.threads
          .filter((threads) => threads <= (fileSystem.threads ?? threads))
          .filter((threads) => threads <= (workload.threads ?? threads))
          .map((threads) => ({ fs, fileSystem, workload, threads })),
      );
  });
}

function makesSense(fileSystem: BenchFileSystem, workload: Workload): boolean {
  if (fileSystem.without.includes(workload.name)) return false;
  return workload.needs !== 'zus' || fileSystem.kind === 'served';
}

function required<T>(all: ReadonlyMap<string, T>, name: string): T {
  const found = all.get(name);
  // readMatrix has looked.
  if (found === undefined) throw new TypeError(`nothing is called ${name}`);
  return found;
}

/** The cells of one file system, which is set up once for them. */
export interface Visit {
  readonly round: number;
  readonly fileSystem: BenchFileSystem;
  readonly cells: readonly Cell[];
}

/**
 * The order of one machine's measurements. Each round visits every file system, so that whatever drifts on the host meets all of
 * them; each begins with another one, so that none always comes right after the same.
 */
export function visits(plan: MachinePlan, rounds: number): Visit[] {
  const groups = new Map<string, Cell[]>();
  for (const cell of plan.cells) {
    const group = groups.get(cell.fs) ?? [];
    groups.set(cell.fs, group);
    group.push(cell);
  }
  const all = [...groups.values()];
  return Array.from({ length: rounds }, (_, round) => {
    const first = Math.floor((round * all.length) / rounds);
    return [...all.slice(first), ...all.slice(0, first)].map((cells) => ({
      round: round + 1,
      fileSystem: cells[0].fileSystem,
      cells,
    }));
  }).flat();
}

export function threadsText(threads: number): string {
  return threads === 1 ? '1 thread' : `${threads} threads`;
}
