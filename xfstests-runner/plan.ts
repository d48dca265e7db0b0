// SPDX-License-Identifier: BSD-3-Clause

/**
 * Spread tests over shards so that they end at about the same time: the longest test first, each to the shard with the least
 * to do. Every shard runs its own in the order given. `seconds` is what a test is expected to take.
 */
export function balance(
  tests: readonly string[],
  shards: number,
  seconds: (test: string) => number,
): readonly (readonly string[])[] {
  const loads = Array.from({ length: shards }, () => ({ seconds: 0, tests: new Set<string>() }));
  for (const test of [...tests].sort((a, b) => seconds(b) - seconds(a))) {
    const least = loads.reduce((best, load) => (load.seconds < best.seconds ? load : best));
    least.tests.add(test);
    least.seconds += seconds(test);
  }
  return loads.map((load) => tests.filter((test) => load.tests.has(test)));
}
