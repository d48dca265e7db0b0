// SPDX-License-Identifier: BSD-3-Clause

import type { Declared } from '../declared.ts';
import type { BenchReport } from './results.ts';
import {
  factLines,
  failureLines,
  markdownTable,
  plainTable,
  ratioTable,
  resultTable,
  splitTable,
  type Table,
  workloadsOf,
} from './text.ts';

type Descriptions = Pick<Declared, 'workloads' | 'fileSystems'>;

/** The run for people: what it was made with, ratios, where the time goes, and every workload. */
export function markdownReport(report: BenchReport, { workloads }: Descriptions): string {
  const sections = [
    `# Benchmark ${report.run.id}`,
    factLines(report)
      .map(([name, value]) => `- ${name}: ${value}`)
      .join('\n'),
    ...failureLines(report).map((line) => `**${line}**`),
    ...tables(report).flatMap(({ title, note, table }) => [
      `## ${title}`,
      ...(note === '' ? [] : [note]),
      markdownTable(table),
    ]),
    ...workloadsOf(report).flatMap((name) => [
      `## ${name}`,
      `${workloads.get(name)?.about ?? ''}.`,
      markdownTable(resultTable(report.results.filter(({ workload }) => workload === name))),
    ]),
    '## How the file systems were had',
    Object.entries(report.run.options)
      .map(([name, value]) => `- ${name}: ${value}`)
      .join('\n'),
  ];
  return `${sections.join('\n\n')}\n`;
}

/** Tables over the whole of a run, those that it has. */
export function tables(report: BenchReport): { title: string; note: string; table: Table }[] {
  return [
    {
      title: 'Ratios',
      note: 'Medians of operations a second, over the best of those that it is compared with. A question mark: not all rounds agree. By p50: what the latency of half of the calls gives.',
      table: ratioTable(report.ratios),
    },
    {
      title: 'Where one operation goes',
      note: 'Means. Outside: into the kernel and out, and the program that measures. Server: TypeScript and its copy.',
      table: splitTable(report.split),
    },
  ].filter(({ table }) => table.length > 1);
}

/** The closing lines on the terminal. */
export function terminalReport(report: BenchReport, directory: string): string {
  return [
    ...workloadsOf(report).flatMap((name) => [
      name,
      plainTable(resultTable(report.results.filter(({ workload }) => workload === name))),
      '',
    ]),
    ...tables(report).flatMap(({ title, table }) => [title, plainTable(table), '']),
    ...failureLines(report),
    `Details: ${directory}`,
  ].join('\n');
}
