// SPDX-License-Identifier: BSD-3-Clause

import { access, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { scratchDirectory } from '../testing/scratch.ts';
import type { PreparedPmem } from '../vm/pmem.ts';
import { packPmem, readArtefacts, unpackArtefacts, writeArtefacts } from './artefacts-file.ts';

const size = 256 * 2 ** 20;
const { signal } = new AbortController();
const kernel = { key: 'k', bzImage: '/bzImage', flavour: 'release' } as const;
const image = { key: 'i', disk: '/root.ext4', hostKey: 'h', hit: true };

/** Files as those of NVDIMMs are: a little at the start and in the middle, holes around it. */
async function sparsePmem(): Promise<PreparedPmem> {
  const directory = await scratchDirectory();
  const files = ['pmem0', 'pmem1'].map((name) => join(directory, name));
  for (const [at, path] of files.entries()) {
    await using file = await open(path, 'w');
    await file.truncate(size);
    await file.write(`namespace ${at}`, 0);
    await file.write(`label ${at}`, size / 2);
  }
  return { key: 'of these sizes', files };
}

async function textAt(path: string, position: number, length: number): Promise<string> {
  await using file = await open(path);
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, position);
  return buffer.toString();
}

test('files of NVDIMMs travel without their holes, and have them again; after use they go', async () => {
  const directory = await scratchDirectory();
  const archive = join(directory, 'pmem.tar.gz');
  const pmem = await sparsePmem();
  await packPmem(pmem, archive, signal);
  expect((await stat(archive)).size).toBeLessThan(10_000);
  const stored = { kernel, image, pmem: { key: pmem.key, archive, files: ['pmem0', 'pmem1'] } };
  await writeArtefacts(join(directory, 'artefacts.json'), stored);
  const read = await readArtefacts(join(directory, 'artefacts.json'));
  expect(read).toEqual(stored);

  const there = join(directory, 'task');
  {
    await using unpacked = await unpackArtefacts(read, there, signal);
    const { artefacts } = unpacked;
    expect(artefacts).toEqual({ kernel, image, pmem: { key: pmem.key, files: expect.any(Array) } });
    const files = artefacts.pmem?.files ?? [];
    expect(files).toHaveLength(2);
    for (const [at, path] of files.entries()) {
      const { size: bytes, blocks } = await stat(path);
      expect(bytes).toBe(size);
      expect(blocks * 512).toBeLessThan(100_000);
      expect([await textAt(path, 0, 11), await textAt(path, size / 2, 7)]).toEqual([
        `namespace ${at}`,
        `label ${at}`,
      ]);
    }
  }
  expect(await readdir(there)).toEqual([]);
});

test('a disk that came packed is unpacked; one that did not is taken as it lies, and stays', async () => {
  const directory = await scratchDirectory();
  const disk = join(directory, 'root.ext4');
  await writeFile(disk, 'a disk');
  await execa('zstd', ['-q', disk]);
  const there = join(directory, 'task');
  {
    await using unpacked = await unpackArtefacts(
      { kernel, image: { ...image, disk: `${disk}.zst` } },
      there,
      signal,
    );
    expect(await readFile(unpacked.artefacts.image.disk, 'utf8')).toBe('a disk');
    expect(unpacked.artefacts).not.toHaveProperty('pmem');
  }
  {
    await using unpacked = await unpackArtefacts({ kernel, image: { ...image, disk } }, there, signal);
    expect(unpacked.artefacts.image.disk).toBe(disk);
  }
  await access(disk);
  expect(await readdir(there)).toEqual([]);
});

test('an archive that cannot be unpacked leaves nothing', async () => {
  const directory = await scratchDirectory();
  const archive = join(directory, 'pmem.tar.gz');
  await writeFile(archive, 'no archive');
  const there = join(directory, 'task');
  const stored = { kernel, image, pmem: { key: 'k', archive, files: ['pmem0'] } };
  await expect(unpackArtefacts(stored, there, signal)).rejects.toThrow('tar');
  expect(await readdir(there)).toEqual([]);
});
