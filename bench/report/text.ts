// SPDX-License-Identifier: BSD-3-Clause

/** Figures and tables as text: what the terminal, the Markdown file and the page have in common. */

import { threadsText } from '../plan.ts';
import { oneLine } from '../samples.ts';
import type { BenchReport, RatioResult, Result } from './results.ts';

/** `12,345`, or with a few digits when it is small. */
export function rate(opsPerSec: number): string {
  return opsPerSec >= 100 ? Math.round(opsPerSec).toLocaleString('en') : opsPerSec.toPrecision(3);
}

/** Microseconds with three digits at least. */
export function microseconds(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}

export function percent(part: number): string {
  return `${(part * 100).toFixed(part < 0.095 ? 1 : 0)} %`;
}

/** Rows of cells, the first of them the head. */
export type Table = readonly (readonly string[])[];

export function markdownTable([head, ...rows]: Table): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = head.map((_, at) => (at === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

/** Columns for a terminal, the first to the left and the others to the right. */
export function plainTable(rows: Table): string {
  const widths = rows[0].map((_, at) => Math.max(...rows.map((row) => row[at].length)));
  return rows
    .map((row) =>
      row
        .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export function workloadsOf(report: BenchReport): string[] {
  return [...new Set(report.results.map(({ workload }) => workload))];
}

/** One workload: a row for each file system and number of threads. */
export function resultTable(results: readonly Result[]): Table {
  return [
    ['file system', 'threads', 'op/s', 'spread', 'mean µs', 'p50', 'p99', 'p99.9'],
    ...results.map(({ fs, threads, opsPerSec, spread, rounds, latencyUs }) => [
      fs,
      `${threads}`,
      rate(opsPerSec),
      rounds.length === 1 ? '' : percent(spread),
      ...[latencyUs.mean, latencyUs.p50, latencyUs.p99, latencyUs.p999].map(microseconds),
    ]),
  ];
}

export function ratioTable(ratios: readonly RatioResult[]): Table {
  return [
    ['ratio', 'threads', 'over', 'is', 'rounds', 'by p50', 'wanted', ''],
    ...ratios.map(({ about, threads, over, ratio, rounds, byP50, atLeast }) => [
      about,
      `${threads}`,
      over,
      ratio.toFixed(2),
      `${Math.min(...rounds).toFixed(2)} to ${Math.max(...rounds).toFixed(2)}`,
      byP50.toFixed(2),
      atLeast === undefined ? '' : `${atLeast}`,
      atLeast === undefined ? '' : judgement(ratio, rounds, atLeast),
    ]),
  ];
}

/** By the median; with a question mark when not all rounds agree. */
function judgement(ratio: number, rounds: readonly number[], atLeast: number): string {
  const met = ratio >= atLeast;
  const agreed = rounds.every((one) => one >= atLeast === met);
  return `${met ? 'met' : 'missed'}${agreed ? '' : '?'}`;
}

export function splitTable(split: BenchReport['split']): Table {
  return [
    [
      'µs of one operation',
      'threads',
      'outside',
      'channel',
      'switch',
      'server',
      'switch back',
      'server part',
    ],
    ...split.map((one) => {
      const sum = one.outside + one.channel + one.switch + one.server + one.back;
      return [
        `${one.fs}, ${one.workload}`,
        `${one.threads}`,
        ...[one.outside, one.channel, one.switch, one.server, one.back].map(microseconds),
        percent(one.server / sum),
      ];
    }),
  ];
}

/** What the run was made with, line by line. */
export function factLines({ run }: BenchReport): (readonly [string, string])[] {
  const machines = run.machines.map(
    ({ cpus, nodes, memory, pmemSize }) => `${cpus} vCPUs, ${nodes} nodes, ${memory}, NVDIMMs of ${pmemSize}`,
  );
  return [
    [
      'run',
      `${run.id}, ${run.rounds} rounds of ${run.sampleSeconds} s after ${run.warmUpSeconds} s, ${run.seconds} s in all`,
    ],
    ['kernel', `${run.guestKernel} (${run.flavour}, ${run.kernel})`],
    ['image', run.image],
    ['server', run.server],
    ['host', `${run.node === undefined ? '' : `${run.node}: `}${run.hostCpus} × ${run.cpu}`],
    [
      'VM',
      `${machines.join('; ')}; QEMU ${run.qemu}, ${run.accelerator === 'kvm' ? 'KVM' : 'TCG'}, clock ${run.clock}`,
    ],
    ['vCPUs bound', run.pinned],
  ];
}

export function failureLines({ failures, incomplete }: BenchReport): string[] {
  return [
    ...failures.map(
      ({ fs, workload, threads, round, error }) =>
        `${fs}, ${workload}, ${threadsText(threads)}, round ${round} was not measured: ${oneLine(error)}`,
    ),
    ...(incomplete ? ['The run was ended before all rounds were through.'] : []),
  ];
}
