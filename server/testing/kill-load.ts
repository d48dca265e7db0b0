// SPDX-License-Identifier: BSD-3-Clause

/** An application of the kill test: random operations until the server is gone. */

import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from 'node:fs';

/** What a worker tells: a file is durable from now on, or is about to be removed and may be gone. */
export interface Promised {
  readonly kind: 'promised' | 'removing';
  /** Relative to the mount. */
  readonly name: string;
  readonly seed: number;
  readonly length: number;
  /** Done since the last message. */
  readonly operations: number;
}

/** Files that a worker keeps; older ones are removed. */
const KEPT = 12;
const NOISE = 24;
const LENGTH_MAX = 200_000;
/** What calls fail with once the server is gone. */
const GONE = new Set(['EIO', 'ENOTCONN', 'ESHUTDOWN', 'ENODEV', 'ENXIO']);

/** Bytes that nothing else has. */
export function contentOf(seed: number, length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** Where a worker works in a round. */
export function directoryOf(worker: number, round: number): string {
  return `of-${worker}-${round}`;
}

/** Work in a directory of its own until calls fail. */
export function work(mount: string, worker: number, round: number): void {
  const directory = directoryOf(worker, round);
  const noise = `${mount}/${directory}/noise`;
  const kept: Promised[] = [];
  let operations = 0;
  const random = (limit: number) => Math.floor(Math.random() * limit);
  const tell = (message: Omit<Promised, 'operations'>): Promised => {
    const whole = { ...message, operations };
    operations = 0;
    process.send?.(whole);
    return whole;
  };
  try {
    mkdirSync(noise, { recursive: true });
    for (let number = 0; ; number++) {
      for (let count = random(6); count > 0; count--) {
        makeNoise(noise, random);
        operations++;
      }
      const seed = (round * 64 + worker) * 65_536 + number;
      const length = 1 + random(random(4) === 0 ? LENGTH_MAX : 6000);
      const name = `${directory}/kept${number}`;
      writeDurably(`${mount}/${name}`, contentOf(seed, length));
      operations += 4;
      kept.push(tell({ kind: 'promised', name, seed, length }));
      if (kept.length <= KEPT) continue;
      const [oldest] = kept.splice(0, 1);
      tell({ ...oldest, kind: 'removing' });
      unlinkSync(`${mount}/${oldest.name}`);
    }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (!GONE.has(code)) throw error;
  }
}

/** In pieces, sometimes over something older, sometimes under another name first. */
function writeDurably(path: string, content: Uint8Array): void {
  const isRenamed = Math.random() < 0.3;
  const first = isRenamed ? `${path}.new` : path;
  const fd = openSync(first, 'w');
  try {
    const piece = 1 + Math.floor(Math.random() * 70_000);
    for (let at = 0; at < content.length; at += piece)
      writeSync(fd, content, at, Math.min(piece, content.length - at), at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  // A name is durable when the call returns: no fsync of the directory is needed.
  if (isRenamed) renameSync(first, path);
}

/** What nobody asks about later. */
function makeNoise(directory: string, random: (limit: number) => number): void {
  const path = () => `${directory}/n${random(NOISE)}`;
  const kinds: readonly (() => void)[] = [
    () => {
      const fd = openSync(path(), 'a+');
      try {
        writeSync(fd, Buffer.alloc(random(50_000), 7));
        if (random(2) === 0) ftruncateSync(fd, random(30_000));
      } finally {
        closeSync(fd);
      }
    },
    () => renameSync(path(), path()),
    () => linkSync(path(), path()),
    () => symlinkSync('anywhere'.repeat(1 + random(20)), path()),
    () => mkdirSync(path()),
    () => rmdirSync(path()),
    () => unlinkSync(path()),
    () => truncateSync(path(), random(100_000)),
    () => void readFileSync(path()),
    () => rmSync(path(), { recursive: true, force: true }),
  ];
  try {
    kinds[random(kinds.length)]();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (GONE.has(code)) throw error;
  }
}
