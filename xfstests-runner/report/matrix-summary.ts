// SPDX-License-Identifier: BSD-3-Clause

import { countsText, verdictText } from '../../lab/test-run/report/summary.ts';
import type { MatrixReport } from '../matrix.ts';
import type { NotrunGroups } from '../notrun-groups.ts';
import { besideMarkdown } from './beside.ts';

/** The matrix for people, as Markdown: a column for each cell. */
export function matrixSummary({ matrix, verdict, columns }: MatrixReport, groups: NotrunGroups): string {
  const reports = columns.map(({ report }) => report);
  const labels = columns.map(({ label }) => label);
  return `# ${matrix}: ${verdict}\n\n${besideMarkdown(reports, groups, labels)}\n`;
}

/** The closing lines on the terminal: one for each cell, what did not pass in it, where the details are. */
export function matrixText({ columns }: MatrixReport, directory: string): string {
  const width = Math.max(...columns.map(({ label }) => label.length));
  return [
    ...columns.flatMap(({ label, report }) => [
      `${label.padEnd(width)}  ${verdictText[report.verdict]} (${countsText(report.counts)}, ${report.seconds.toFixed(0)} s)`,
      ...report.problems.map((problem) => `  ${problem}`),
      ...report.tests
        .filter(({ status }) => status !== 'passed' && status !== 'notrun')
        .map(({ name, status, reason }) => `  ${name} ${status}: ${reason.split('\n')[0]}`),
    ]),
    `Details: ${directory}`,
  ].join('\n');
}
