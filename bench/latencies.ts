// SPDX-License-Identifier: BSD-3-Clause

/** Latencies as counts: pairs of nanoseconds and how many took so long, in ascending order. */
export type Latencies = readonly (readonly [ns: number, count: number])[];

/** What the bins of fio and of our program look like in JSON. */
export function latenciesOf(bins: Readonly<Record<string, number>>): Latencies {
  return Object.entries(bins)
    .map(([ns, count]) => [Number(ns), count] as const)
    .filter(([, count]) => count > 0)
    .sort(([a], [b]) => a - b);
}

/** Nanoseconds that the given part (0..1) of all did not exceed. Undefined when there are none. */
export function quantile(latencies: Latencies, part: number): number | undefined {
  const total = latencies.reduce((sum, [, count]) => sum + count, 0);
  let passed = 0;
  for (const [ns, count] of latencies) {
    passed += count;
    if (passed >= part * total) return ns;
  }
  return undefined;
}

/** Bins a power of two that a record keeps: a step is 9 %, finer than two rounds agree. */
const keptParts = 8;

/** The same in wider bins, each called by its middle. */
export function coarser(latencies: Latencies): Latencies {
  const bins = new Map<number, number>();
  for (const [ns, count] of latencies) {
    const bin = Math.floor(Math.log2(Math.max(ns, 1)) * keptParts);
    bins.set(bin, (bins.get(bin) ?? 0) + count);
  }
  return [...bins].map(([bin, count]) => [Math.round(2 ** ((bin + 0.5) / keptParts)), count] as const);
}

export function merged(all: readonly Latencies[]): Latencies {
  const sum = new Map<number, number>();
  for (const [ns, count] of all.flat()) sum.set(ns, (sum.get(ns) ?? 0) + count);
  return [...sum].sort(([a], [b]) => a - b);
}
