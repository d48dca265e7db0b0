// SPDX-License-Identifier: BSD-3-Clause

import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { quantile } from './latencies.ts';
import { namesCommand, parseNames } from './names.ts';
import { namesSchema, workloadSchema } from './schema.ts';

const run = promisify(execFile);

const sources = join(import.meta.dirname, 'programs');

async function compiled(directory: string): Promise<string> {
  const program = join(directory, 'zufs-bench-names');
  const files = (await readdir(sources)).filter((name) => name.endsWith('.c'));
  const flags = [
    '-std=gnu11',
    '-O1',
    '-fsanitize=address,undefined',
    '-pthread',
    '-Wall',
    '-Wextra',
    '-Werror',
  ];
  await run('cc', [...flags, '-o', program, ...files.map((name) => join(sources, name))]);
  return program;
}

const operations = namesSchema.shape.operation.options.filter((name) => name !== 'noop');

test('every operation on names, by three threads: figures come, nothing is left behind but directories', async () => {
  const directory = await scratchDirectory();
  const program = await compiled(directory);
  for (const operation of operations) {
    for (const shared of [false, true]) {
      const place = join(directory, `${operation}-${shared}`);
      const workload = workloadSchema.parse({
        name: 'x',
        about: 'x',
        engine: 'names',
        names: { operation, batch: 7, shared },
      });
      if (workload.engine !== 'names') throw new TypeError('not what was parsed');
      const timing = { warmUp: 0.005, seconds: 0.02, cpus: [0] };
      const [file, ...words] = namesCommand(program, workload, 3, place, timing);
      const { stdout } = await run(file, words);
      const { opsPerSec, latencyUs, latencies } = parseNames(stdout);
      expect(opsPerSec).toBeGreaterThan(0);
      expect(latencyUs.p50).toBeGreaterThan(0);
      expect(latencyUs.p999).toBeGreaterThanOrEqual(latencyUs.p50);
      // Whole batches of every thread.
      expect(latencies.reduce((sum, [, count]) => sum + count, 0) % 21).toBe(0);
      const left = await readdir(place, { recursive: true, withFileTypes: true });
      // An empty file a thread, which the next run appends to anew.
      expect(left.filter((one) => one.isFile())).toHaveLength(operation.startsWith('append') ? 3 : 0);
    }
  }
}, 60_000);

test('what cannot be done is told in one line, and is no result', async () => {
  const directory = await scratchDirectory();
  const program = await compiled(directory);
  await expect(run(program, ['-o', 'create', '-d', '/proc/here'])).rejects.toMatchObject({
    code: 1,
    stderr: 'zufs-bench-names: mkdir in /proc/here: No such file or directory\n',
  });
  await expect(run(program, ['-o', 'fly', '-d', directory])).rejects.toMatchObject({ code: 2 });
  expect(() => parseNames('Killed')).toThrow('printed no result');
});

test('a quantile is the time that such a part of all did not exceed', () => {
  const latencies = [
    [10, 50],
    [20, 49],
    [500, 1],
  ] as const;
  expect([0.5, 0.99, 0.999].map((part) => quantile(latencies, part))).toEqual([10, 20, 500]);
  expect(quantile([], 0.5)).toBeUndefined();
});
