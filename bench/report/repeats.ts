// SPDX-License-Identifier: BSD-3-Clause

/** Several runs of one matrix beside each other: what each was made with, and its ratios. No figure is made of more than one run. */

import { z } from 'zod';
import { escapeHtml } from '../../lab/escape-html.ts';
import { median } from '../samples.ts';
import { htmlDocument, htmlTable } from './html.ts';
import { type BenchReport, runSchema } from './results.ts';
import { markdownTable, percent, plainTable, type Table } from './text.ts';

const repeatSchema = runSchema
  .pick({ id: true, node: true, cpu: true, hostCpus: true, accelerator: true, pinned: true, seconds: true })
  .extend({
    /** From 1. */
    number: z.int(),
    failures: z.number(),
    incomplete: z.boolean(),
  });

const repeatedRatioSchema = z.object({
  about: z.string(),
  threads: z.number(),
  of: z.string(),
  /** Of each repeat that has a run, in their order; null where that did not measure it. */
  each: z.array(z.number().nullable()),
  median: z.number(),
  /** (largest - smallest) / median. */
  spread: z.number(),
  atLeast: z.number().optional(),
});

export const repeatsSchema = z.object({
  id: z.string(),
  matrix: z.string(),
  started: z.string(),
  runs: z.array(repeatSchema),
  /** Repeats without a run that came to its end, and why. */
  missing: z.array(z.object({ number: z.int(), reason: z.string() })),
  ratios: z.array(repeatedRatioSchema),
});

export type RepeatsReport = Readonly<z.infer<typeof repeatsSchema>>;

/** What became of one repeat. */
export type Repeat = { readonly number: number } & (
  | { readonly report: BenchReport }
  | { readonly reason: string }
);

export function makeRepeats(
  about: Pick<RepeatsReport, 'id' | 'matrix' | 'started'>,
  repeats: readonly Repeat[],
): RepeatsReport {
  const measured = repeats.flatMap((one) => ('report' in one ? [one] : []));
  return {
    ...about,
    runs: measured.map(({ number, report: { run, failures, incomplete } }) => ({
      ...repeatSchema.parse({ ...run, number, failures: failures.length, incomplete }),
    })),
    missing: repeats.flatMap((one) => ('reason' in one ? [one] : [])),
    ratios: ratiosOver(measured.map(({ report }) => report)),
  };
}

function ratiosOver(reports: readonly BenchReport[]): RepeatsReport['ratios'] {
  const keyOf = ({ about, threads, of }: BenchReport['ratios'][number]) =>
    JSON.stringify([about, threads, of]);
  const all = new Map(reports.flatMap(({ ratios }) => ratios.map((ratio) => [keyOf(ratio), ratio])));
  return [...all].map(([key, { about, threads, of, atLeast }]) => {
    const each = reports.map(({ ratios }) => ratios.find((one) => keyOf(one) === key)?.ratio ?? null);
    const values = each.filter((one) => one !== null);
    const middle = median(values);
    return {
      about,
      threads,
      of,
      each,
      median: middle,
      spread: (Math.max(...values) - Math.min(...values)) / middle,
      ...(atLeast === undefined ? {} : { atLeast }),
    };
  });
}

function runTable({ runs }: RepeatsReport): Table {
  return [
    ['repeat', 'run', 'node', 'CPU', 'accelerator', 'vCPUs bound', 's', 'not measured'],
    ...runs.map(({ number, id, node = 'this machine', cpu, hostCpus, accelerator, ...run }) => [
      `${number}`,
      id,
      node,
      `${hostCpus} × ${cpu}`,
      accelerator === 'kvm' ? 'KVM' : 'TCG',
      run.pinned,
      `${run.seconds}`,
      [...(run.failures > 0 ? [`${run.failures}`] : []), ...(run.incomplete ? ['ended early'] : [])].join(
        ', ',
      ),
    ]),
  ];
}

function ratioTable({ runs, ratios }: RepeatsReport): Table {
  return [
    ['ratio', 'threads', ...runs.map(({ number }) => `${number}`), 'median', 'spread', 'wanted', ''],
    ...ratios.map(({ about, threads, each, median, spread, atLeast }) => [
      about,
      `${threads}`,
      ...each.map((ratio) => ratio?.toFixed(2) ?? ''),
      median.toFixed(2),
      each.length === 1 ? '' : percent(spread),
      ...(atLeast === undefined ? ['', ''] : [`${atLeast}`, median >= atLeast ? 'met' : 'missed']),
    ]),
  ];
}

function missingLines({ missing }: RepeatsReport): string[] {
  return missing.map(({ number, reason }) => `Repeat ${number} has no figures: ${reason}`);
}

const ratioNote = 'Of each repeat by itself. Median and spread are those of the ratios: machines differ.';

export function repeatsMarkdown(report: RepeatsReport): string {
  const sections = [
    `# ${titleOf(report)}`,
    ...missingLines(report).map((line) => `**${line}**`),
    markdownTable(runTable(report)),
    ...(report.ratios.length === 0 ? [] : ['## Ratios', ratioNote, markdownTable(ratioTable(report))]),
  ];
  return `${sections.join('\n\n')}\n`;
}

export function repeatsText(report: RepeatsReport, directory: string): string {
  return [
    plainTable(runTable(report)),
    '',
    ...(report.ratios.length === 0 ? [] : [plainTable(ratioTable(report)), '']),
    ...missingLines(report),
    `Details: ${directory}`,
  ].join('\n');
}

/** `toRun`: where the page of a run lies, as seen from this one. */
export function repeatsPage(report: RepeatsReport, toRun: (id: string) => string): string {
  const links = report.runs.map(({ id }) => `<a href="${escapeHtml(toRun(id))}">${escapeHtml(id)}</a>`);
  return htmlDocument(
    titleOf(report),
    [
      ...missingLines(report).map((line) => `<p class="problem">${escapeHtml(line)}</p>`),
      htmlTable(runTable(report)),
      `<p>All figures of each: ${links.join(', ')}</p>`,
      ...(report.ratios.length === 0
        ? []
        : [`<h2>Ratios</h2><p>${escapeHtml(ratioNote)}</p>`, htmlTable(ratioTable(report))]),
    ].join('\n'),
  );
}

function titleOf({ id, matrix, runs, missing }: RepeatsReport): string {
  return `Benchmark ${matrix}, ${runs.length + missing.length} times: ${id}`;
}
