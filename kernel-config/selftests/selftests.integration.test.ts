// SPDX-License-Identifier: BSD-3-Clause

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { installForTests } from '../../lab/testing/packages.ts';
import { TestLabs } from '../../lab/testing/test-lab.ts';
import { type KtapProgram, parseKtap } from './ktap.ts';

const here = import.meta.dirname;

/** What must not be skipped on the lab's kernel: everything but what only a kernel for debugging has. */
const mayBeSkipped = [/^this kernel has no kmemleak$/, /^this kernel has no fault injection$/];

let labs: TestLabs;
let missing: string | undefined;
let work: string;
let all: Run;
let inOneSocket: Run;

interface Run {
  readonly output: string;
  readonly exitCode: number | null;
  readonly programs: readonly KtapProgram[];
}

async function bzImage(): Promise<string> {
  return JSON.parse(await labs.must('kernel', 'build', '--json')).bzImage;
}

/** Boot the kernel with the selftests, in their short form. */
function runSelftests(image: string, ...options: string[]): Promise<Run> {
  return new Promise((resolve) => {
    const child = execFile(
      join(here, 'run.sh'),
      [image, work, ...options],
      { maxBuffer: 2 ** 24 },
      (_error, output) => resolve({ output, exitCode: child.exitCode, programs: parseKtap(output) }),
    );
  });
}

beforeAll(async () => {
  labs = await TestLabs.create();
  missing = await installForTests(
    'busybox-static',
    'cpio',
    'gcc',
    'libc6-dev',
    'make',
    'qemu-system-x86',
    'seabios',
  );
  if (missing !== undefined) return;
  work = await mkdtemp(join(tmpdir(), 'zufs-selftests-'));
  const image = await bzImage();
  all = await runSelftests(image);
  inOneSocket = await runSelftests(image, '--one-socket', '-t', 'switch_cost', '--only', 'stays on its CPU');
});
beforeEach((context) => {
  if (missing !== undefined) context.skip(missing);
});
afterAll(async () => {
  await labs[Symbol.asyncDispose]();
  await rm(work, { recursive: true, force: true });
});

describe('the selftests of the kernel, in a VM', async () => {
  const list = await readFile(join(here, 'programs'), 'utf8');
  const names = list.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

  test.each(names)('%s', (name) => {
    const { output, programs } = all;
    const program = programs.find((one) => one.name === name);
    expect(program, `no result of ${name} in:\n${output}`).toBeDefined();
    for (const one of program?.tests ?? []) process.stdout.write(`${name}: ${one.name}\n`);
    const failed = program?.tests.filter((one) => !one.ok).map((one) => one.name);
    expect(failed, output).toEqual([]);
    expect(program?.tests.length).toBe(program?.planned);
    expect(program?.planned).toBeGreaterThan(0);
    const skipped = program?.tests.flatMap((one) => one.skipped ?? []) ?? [];
    expect(skipped.filter((why) => !mayBeSkipped.some((reason) => reason.test(why)))).toEqual([]);
    expect(program?.ok).toBe(true);
  });

  test('the kernel has nothing to complain of', () => {
    expect(all.output).not.toMatch(/^# the kernel/m);
    expect(all.exitCode).toBe(0);
  });

  test('a task stays on its CPU, though an idle one shares its caches', () => {
    const { output, exitCode, programs } = inOneSocket;
    expect(
      programs.flatMap(({ tests }) => tests.map(({ ok, skipped }) => [ok, skipped])),
      output,
    ).toEqual([[true, undefined]]);
    expect(exitCode).toBe(0);
  });
});
