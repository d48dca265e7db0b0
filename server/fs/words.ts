// SPDX-License-Identifier: BSD-3-Clause

/**
 * 64-bit fields as plain numbers, without BigInt or DataView: nothing here allocates. Offsets are bytes and multiples
 * of 4; values are below 2^53.
 */

const TWO_32 = 2 ** 32;

export function readU64(words: Uint32Array, offset: number): number {
  return words[offset >>> 2] + words[(offset >>> 2) + 1] * TWO_32;
}

export function writeU64(words: Uint32Array, offset: number, value: number): void {
  words[offset >>> 2] = value;
  words[(offset >>> 2) + 1] = value / TWO_32;
}
