// SPDX-License-Identifier: BSD-3-Clause

/** A worker that uses a mount of another thread, in a directory of its own, and tells what should be there. */

import { parentPort, workerData } from 'node:worker_threads';
import { loadFileSystems } from '../../fs/index.ts';
import { loadAddon } from '../../native/load.ts';
import { FakeKernel, KernelError, type SharedMount } from '../fake-kernel.ts';

export interface MountWorkerData {
  readonly addon: string;
  readonly fileSystem: string;
  readonly mount: SharedMount;
  readonly zt: number;
  readonly rounds: number;
}

export interface MountWorkerResult {
  /** Name and size of each file. */
  readonly files: readonly (readonly [name: string, size: number])[];
  readonly reports: readonly string[];
}

const data = workerData as MountWorkerData;
const addon = loadAddon(data.addon);
const [fileSystem] = await loadFileSystems([data.fileSystem]);
const kernel = new FakeKernel({ addon, fileSystem, join: { mount: data.mount, firstZt: data.zt } });
const fs = kernel.joinedMount;
const directory = `/zt${data.zt}`;
const files = new Map<string, number>();

/** xorshift: the same run each time, and another one in each thread. */
let seed = 0x9e3779b9 ^ (data.zt * 0x85ebca6b);
function random(limit: number): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % limit;
}

function name(): string {
  return `file-${random(200)}`;
}

function oneRound(): void {
  const path = name();
  const known = files.get(path);
  switch (random(6)) {
    case 0:
    case 1: {
      const size = random(30_000) + 1;
      const target =
        known === undefined ? fs.create(`${directory}/${path}`) : fs.inode(`${directory}/${path}`);
      files.set(path, Math.max(known ?? 0, 0));
      const written = fs.write(target, 0, new Uint8Array(size).fill(data.zt + 1));
      files.set(path, Math.max(known ?? 0, written));
      break;
    }
    case 2:
      if (known === undefined) break;
      fs.unlink(`${directory}/${path}`);
      files.delete(path);
      break;
    case 3: {
      const to = name();
      if (known === undefined || to === path) break;
      fs.rename(`${directory}/${path}`, `${directory}/${to}`);
      files.delete(path);
      files.set(to, known);
      break;
    }
    case 4:
      if (known === undefined) break;
      fs.truncate(`${directory}/${path}`, Math.floor(known / 2));
      files.set(path, Math.floor(known / 2));
      break;
    default:
      if (random(50) === 0) fs.dropCaches();
      fs.statfs();
  }
}

for (let round = 0; round < data.rounds; round++) {
  try {
    oneRound();
  } catch (error) {
    // Full is no error here: what is there must still be right.
    if (!(error instanceof KernelError) || error.code !== 'ENOSPC') throw error;
  }
}
fs.dropCaches();
parentPort?.postMessage({ files: [...files], reports: kernel.reports } satisfies MountWorkerResult);
