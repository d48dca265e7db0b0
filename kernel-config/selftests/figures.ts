// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type KtapProgram, parseKtap } from './ktap.ts';

/** What of the selftests' notes is a figure for the cover letter, by program and test. */
const measured: readonly (readonly [program: string, test: string])[] = [
  ['switch_cost', "a NOOP costs no more than a pipe's round trip"],
  ['switch_cost', 'no interprocessor interrupts with VM_LOCAL_CPU, many without'],
  ['switch_cost', 'throughput by tasks, with and without'],
  ['extents', 'cheaper than calls'],
];

/** Not figures, but what each test notes of itself. */
const ownNote = /^(seed \d+|[\d.]+ s)$/;

/** The figures as text for the cover letter of the series. Throws where one is missing or its test has failed. */
export function coverFigures(programs: readonly KtapProgram[], machine: string): string {
  const paragraphs = measured.map(([name, title]) => {
    const test = programs.find((one) => one.name === name)?.tests.find((one) => one.name === title);
    if (test === undefined)
      throw new Error(`There is no result of "${title}" of ${name}: run it with -t ${name}.`);
    if (!test.ok || test.skipped !== undefined) throw new Error(`"${title}" of ${name} did not pass.`);
    return test.notes.filter((note) => !ownNote.test(note)).map((note) => wrap(note));
  });
  const head = wrap(`Measured by kernel-config/selftests/run.sh -t switch_cost -t extents, ${machine}:`, '');
  return `${[head, ...paragraphs.map((lines) => lines.join('\n'))].join('\n\n')}\n`;
}

/** As mails are: lines of 72 columns, those of a list indented. */
function wrap(text: string, bullet = ' - '): string {
  const indent = ' '.repeat(bullet.length);
  const lines: string[] = [];
  let line = bullet;
  for (const word of text.split(' ')) {
    const longer = line.trim() === bullet.trim() ? line + word : `${line} ${word}`;
    if (longer.length > 72 && line.trim() !== bullet.trim()) {
      lines.push(line);
      line = indent + word;
    } else line = longer;
  }
  return [...lines, line].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , machine, ...files] = process.argv;
  if (machine === undefined || files.length === 0)
    throw new Error('Usage: figures.ts "on which machine" WORKDIR/ktap... >kernel-config/figures.txt');
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  // The licence is for the file; the cover letter goes without (lab/kernel/series.ts).
  process.stdout.write(
    `# SPDX-License-Identifier: GPL-2.0-only\n\n${coverFigures(texts.flatMap(parseKtap), machine)}`,
  );
}
