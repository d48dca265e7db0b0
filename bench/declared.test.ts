// SPDX-License-Identifier: BSD-3-Clause

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { matrixNames, readMatrix } from './declared.ts';
import { keyOf, planMatrix } from './plan.ts';

async function written(text: string): Promise<string> {
  const file = join(await scratchDirectory(), 'mine.yaml');
  await writeFile(file, text);
  return file;
}

async function cellsOf(called: string): Promise<string[]> {
  return planMatrix(await readMatrix(called)).flatMap(({ cells }) => cells.map(keyOf));
}

const head = 'about: mine\nrounds: 1\nwarmUp: 0\nseconds: 1\n';

test.each(matrixNames)(
  'the matrix %s can be planned, and each of its ratios is of something that it measures',
  async (name) => {
    const cells = await cellsOf(name);
    const { matrix } = await readMatrix(name);
    for (const { of, over, workload, overWorkload = workload } of matrix.ratios) {
      expect(cells).toContain(`${of} ${workload} 1`);
      expect(over.some((fs) => cells.includes(`${fs} ${overWorkload} 1`))).toBe(true);
    }
  },
);

test('the short matrix measures for ten of its fifteen minutes at most', async () => {
  const { matrix } = await readMatrix('short');
  const samples = (await cellsOf('short')).length * matrix.rounds;
  expect(samples * (matrix.warmUp + matrix.seconds)).toBeLessThan(600);
});

test('a matrix of your own, with a file system and a workload of your own', async () => {
  const file = await written(`${head}parts:
  - filesystems: [ext4-dax, mine]
    workloads: [appends]
    threads: [1, 4]
filesystems:
  - { name: mine, about: ext4 with DAX off, kind: kernel, type: ext4, devices: near, threads: 2 }
workloads:
  - { name: appends, about: append, engine: names, names: { operation: append, batch: 10 } }
`);
  expect(await cellsOf(file)).toEqual(['ext4-dax appends 1', 'ext4-dax appends 4', 'mine appends 1']);
});

test.each([
  [
    'an unknown name',
    'parts:\n  - { filesystems: [ext5], workloads: [create], threads: [1] }\n',
    "names 'ext5'",
  ],
  ['an unknown key', 'parts: []\nround: 3\n', /mine\.yaml:5: parts: |mine\.yaml:6: round: Unrecognized key/],
  [
    'a wrong value',
    'parts:\n  - { filesystems: [tmpfs], workloads: [create],\n      threads: [0] }\n',
    'mine.yaml:7: parts.0.threads.0: ',
  ],
  ['no YAML', 'parts: [', 'mine.yaml: '],
])('%s is refused, with file and line', async (_what, text, message) => {
  await expect(readMatrix(await written(head + text))).rejects.toThrow(message);
});

test('a matrix that is not there is refused with those that are', async () => {
  await expect(readMatrix('shrot')).rejects.toMatchObject({
    message: expect.stringContaining('shrot cannot be read'),
    hint: 'Take smoke, short, full, or the path of a file.',
  });
});

test('the same cell in two parts is refused, unless a label sets them apart', async () => {
  const part = (label: string) => `  - { ${label}filesystems: [tmpfs], workloads: [create], threads: [1] }\n`;
  const twice = await written(`${head}parts:\n${part('')}${part('machine: { nodes: 1 }, ')}`);
  await expect(cellsOf(twice)).rejects.toThrow('tmpfs create 1 in two parts');
  const apart = await written(
    `${head}parts:\n${part('')}${part('label: one-node, machine: { nodes: 1 }, ')}`,
  );
  expect(await cellsOf(apart)).toEqual(['tmpfs create 1', 'one-node:tmpfs create 1']);
});
