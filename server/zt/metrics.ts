// SPDX-License-Identifier: BSD-3-Clause

/** Statistics as people and as monitoring read them. */

import { OP } from '../abi/layout.ts';
import { BUCKETS, type OperationTotals } from './statistics.ts';

export interface OperationMetrics {
  readonly operation: string;
  readonly count: number;
  readonly errors: number;
  /** Of the operations that were timed; null when none was. */
  readonly averageNanoseconds: number | null;
  /** Upper bounds, a power of two each. */
  readonly p50: number | null;
  readonly p99: number | null;
  readonly p999: number | null;
}

const names = new Map(
  Object.entries(OP).map(([name, code]) => [code as number, name.replace('ZUFS_OP_', '').toLowerCase()]),
);

/** Operations that happened at least once. */
export function operationMetrics(totals: readonly OperationTotals[]): OperationMetrics[] {
  return totals.flatMap((total, code) => {
    if (total.count === 0) return [];
    return [
      {
        operation: names.get(code) ?? `operation_${code}`,
        count: total.count,
        errors: total.errors,
        averageNanoseconds: total.samples === 0 ? null : Math.round(total.nanoseconds / total.samples),
        p50: percentile(total, 0.5),
        p99: percentile(total, 0.99),
        p999: percentile(total, 0.999),
      },
    ];
  });
}

/** Upper bound in nanoseconds of the bucket that holds the percentile. */
export function percentile(total: OperationTotals, fraction: number): number | null {
  const samples = total.histogram.reduce((sum, count) => sum + count, 0);
  if (samples === 0) return null;
  let seen = 0;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    seen += total.histogram[bucket];
    if (seen >= samples * fraction) return 2 ** (bucket + 1);
  }
  return 2 ** BUCKETS;
}

export function metricsText(metrics: readonly OperationMetrics[]): string {
  const rows = metrics.map((metric) => [
    metric.operation,
    String(metric.count),
    String(metric.errors),
    ...[metric.averageNanoseconds, metric.p50, metric.p99, metric.p999].map((value) =>
      value === null ? '-' : String(value),
    ),
  ]);
  const table = [['operation', 'count', 'errors', 'avg ns', 'p50 <', 'p99 <', 'p99.9 <'], ...rows];
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  return `${table
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])))
        .join('  '),
    )
    .join('\n')}\n`;
}

/** Prometheus text format, version 0.0.4. */
export function prometheusText(totals: readonly OperationTotals[]): string {
  const lines = ['# TYPE zus_operations_total counter', '# TYPE zus_operation_errors_total counter'];
  const histograms = ['# TYPE zus_operation_seconds histogram'];
  totals.forEach((total, code) => {
    if (total.count === 0) return;
    const label = `operation="${names.get(code) ?? code}"`;
    lines.push(
      `zus_operations_total{${label}} ${total.count}`,
      `zus_operation_errors_total{${label}} ${total.errors}`,
    );
    let seen = 0;
    for (let bucket = 6; bucket < BUCKETS; bucket++) {
      seen = total.histogram.slice(0, bucket + 1).reduce((sum, count) => sum + count, 0);
      histograms.push(`zus_operation_seconds_bucket{${label},le="${2 ** (bucket + 1) / 1e9}"} ${seen}`);
    }
    histograms.push(`zus_operation_seconds_bucket{${label},le="+Inf"} ${total.samples}`);
    histograms.push(`zus_operation_seconds_sum{${label}} ${total.nanoseconds / 1e9}`);
    histograms.push(`zus_operation_seconds_count{${label}} ${total.samples}`);
  });
  return `${[...lines, ...histograms].join('\n')}\n`;
}
