// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { expect, test, vi } from 'vitest';
import { scratchDirectory } from '../testing/scratch.ts';
import { createDisplay } from './display.ts';
import { Durations } from './durations.ts';
import { formatDuration, formatRunning, remainingMs } from './estimate.ts';

async function display(options: { isTTY?: boolean; verbose?: boolean; known?: Durations } = {}) {
  const directory = await scratchDirectory();
  const stream = Object.assign(new PassThrough(), { isTTY: options.isTTY ?? false, columns: 60, rows: 20 });
  const chunks: string[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
  const logFile = join(directory, 'logs', 'command.log');
  const shown = createDisplay({
    stream: stream as unknown as NodeJS.WriteStream,
    verbose: options.verbose ?? false,
    durations: options.known ?? (await Durations.load(join(directory, 'durations.json'))),
    logFile,
  });
  return { shown, text: () => stripVTControlCharacters(chunks.join('')), logFile, directory };
}

test('without a terminal: a line a step when it ends, notes as they come, no output of programs', async () => {
  const { shown, text, logFile } = await display();
  await shown.step('Kernel', undefined, async (kernel) => {
    kernel.progress.note('chosen: release');
    kernel.progress.output('  CC      mm/memory.o');
    await shown.step('Source', kernel, async (source) => source.progress.update('unpacking'));
  });
  shown.progress.note('done');
  shown[Symbol.dispose]();
  expect(text().replace(/\(\S+\)/g, '(time)')).toBe(
    '  chosen: release\n  ✔ Source (time)\n✔ Kernel (time)\ndone\n',
  );
  expect(await readFile(logFile, 'utf8')).toContain(
    '    CC      mm/memory.o\n==> Source\nunpacking\n<== Source',
  );
});

test('a step that fails is marked, and its error goes on', async () => {
  const { shown, text } = await display();
  const step = shown.step('Kernel', undefined, () => Promise.reject(new Error('broken')));
  await expect(step).rejects.toThrow('broken');
  shown[Symbol.dispose]();
  expect(text()).toMatch(/^✖ Kernel \(\S+\)\n$/);
});

test('--verbose shows what programs print', async () => {
  const { shown, text } = await display({ verbose: true });
  await shown.step('Kernel', undefined, async (step) => step.progress.output('CC mm/memory.o'));
  shown[Symbol.dispose]();
  expect(text()).toContain('    CC mm/memory.o\n');
});

test('without a terminal, a long step says now and then where it is', async () => {
  const { shown, text } = await display();
  const now = vi.spyOn(performance, 'now');
  try {
    await shown.step('Kernel', undefined, async (step) => {
      const begin = performance.now();
      step.progress.update('compiling');
      now.mockReturnValue(begin + 11_000);
      step.progress.fraction(0.5);
      step.progress.fraction(0.6);
      now.mockReturnValue(begin + 22_000);
      step.progress.fraction(1);
    });
  } finally {
    now.mockRestore();
  }
  shown[Symbol.dispose]();
  expect(text().split('\n').slice(0, -2)).toEqual([
    '… Kernel: compiling, 50 %, 11s, about 11s left',
    '… Kernel: compiling, 100 %, 22s',
  ]);
});

test('what a step expects of itself counts more than how long the last one of its name took', async () => {
  const known = await Durations.load(join(await scratchDirectory(), 'durations.json'));
  await known.record('Tests', 600_000);
  const { shown, text } = await display({ known });
  const now = vi.spyOn(performance, 'now');
  try {
    await shown.step('Tests', undefined, async (step) => {
      const begin = performance.now();
      step.progress.expect(3_600_500);
      now.mockReturnValue(begin + 11_000);
      step.progress.update('generic/001');
    });
  } finally {
    now.mockRestore();
  }
  shown[Symbol.dispose]();
  expect(text()).toContain('… Tests: generic/001, 11s, about 59m 49s left');
});

test('on a terminal the running steps are redrawn, with elapsed time and estimate, and cleared at the end', async () => {
  const directory = await scratchDirectory();
  const known = await Durations.load(join(directory, 'durations.json'));
  await known.record('Kernel', 600_000);
  const { shown, text } = await display({ isTTY: true, known });
  await shown.step('Kernel', undefined, async (step) => {
    step.progress.update('a text that is far too long for a terminal of just sixty columns');
    await shown.step('Source', step, () => sleep(500));
  });
  shown[Symbol.dispose]();
  expect(text()).toMatch(/[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] Kernel: .*…/);
  expect(text()).toMatch(/ {2}[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] Source: 0s/);
  for (const line of text().split('\n')) expect(line.length).toBeLessThanOrEqual(60);
  expect(text().trimEnd()).toMatch(/✔ Kernel \(\S+\)$/);
});

test('how long a step took is remembered, unless it had nothing to do', async () => {
  const file = join(await scratchDirectory(), 'below', 'durations.json');
  const first = await Durations.load(file);
  await first.record('Kernel', 600_000);
  await first.record('Kernel', 150);
  const second = await Durations.load(file);
  expect(second.expected('Kernel')).toBe(600_000);
  expect(second.expected('Image')).toBeUndefined();
});

test('what is left is reckoned from last time, then more and more from the pace', () => {
  expect(remainingMs({ elapsedMs: 10, expectedMs: undefined, fraction: undefined })).toBeUndefined();
  expect(remainingMs({ elapsedMs: 40, expectedMs: 100, fraction: undefined })).toBe(60);
  expect(remainingMs({ elapsedMs: 140, expectedMs: 100, fraction: undefined })).toBeUndefined();
  expect(remainingMs({ elapsedMs: 50, expectedMs: undefined, fraction: 0.5 })).toBe(50);
  expect(remainingMs({ elapsedMs: 90, expectedMs: 1000, fraction: 0.9 })).toBeCloseTo(0.9 * 10 + 0.1 * 910);
  expect(remainingMs({ elapsedMs: 10, expectedMs: 100, fraction: 0.01 })).toBe(90);
});

test('durations as people say them', () => {
  expect([340, 12_345, 182_000, 7_260_000].map(formatDuration)).toEqual(['340ms', '12.3s', '3m 2s', '2h 1m']);
  expect([340, 12_345, 182_000].map(formatRunning)).toEqual(['0s', '12s', '3m 2s']);
});
