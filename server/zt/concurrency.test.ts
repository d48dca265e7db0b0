// SPDX-License-Identifier: BSD-3-Clause

import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { fileSystemNames, loadFileSystems } from '../fs/index.ts';
import { buildAddon } from '../native/build.ts';
import { loadAddon } from '../native/load.ts';
import { FakeKernel } from './fake-kernel.ts';
import type { MountWorkerData, MountWorkerResult } from './testing/worker-of-mount.ts';

const addonPath = buildAddon();
const addon = loadAddon(addonPath);
const writable = (await loadFileSystems(fileSystemNames)).filter(
  ({ formatScratch }) => formatScratch !== undefined,
);
const THREADS = 3;

async function run(data: MountWorkerData): Promise<MountWorkerResult> {
  const worker = new Worker(new URL('testing/worker-of-mount.ts', import.meta.url), { workerData: data });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

describe.each(writable)('$info.name served by several threads at once', (fileSystem) => {
  it('keeps what each of them did', { timeout: 120_000 }, async () => {
    const length = 48 << 20;
    const memory = { address: addon.mmapAnonymous(length), length, nodes: [{ node: 0, offset: 0, length }] };
    fileSystem.formatScratch?.(addon, memory);
    const kernel = new FakeKernel({ addon, fileSystem, memory, cpus: THREADS + 1 });
    const fs = kernel.mount();
    for (let zt = 1; zt <= THREADS; zt++) fs.mkdir(`/zt${zt}`);
    const mount = kernel.share(fs);
    const name = fileSystem.info.name;
    const results = await Promise.all(
      Array.from({ length: THREADS }, (_, index) =>
        run({ addon: addonPath, fileSystem: name, mount, zt: index + 1, rounds: 4000 }),
      ),
    );
    fs.dropCaches();
    results.forEach(({ files, reports }, index) => {
      const directory = `/zt${index + 1}`;
      expect(reports).toEqual([]);
      expect(files.length).toBeGreaterThan(20);
      expect(fs.list(directory)).toEqual(files.map(([file]) => file).sort());
      for (const [file, size] of files) {
        const data = fs.readFile(`${directory}/${file}`);
        expect(data.length, `${directory}/${file}`).toBe(size);
        const expected = name === 'nullfs' ? 0 : index + 2;
        expect(
          data.every((byte) => byte === expected),
          `contents of ${directory}/${file}`,
        ).toBe(true);
      }
    });
    fs.unmount();
  });
});
