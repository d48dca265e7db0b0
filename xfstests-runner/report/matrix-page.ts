// SPDX-License-Identifier: BSD-3-Clause

import { escapeHtml } from '../../lab/escape-html.ts';
import { page } from '../../lab/test-run/report/page.ts';
import { countsText } from '../../lab/test-run/report/summary.ts';
import { type TestOutcome, testNames } from '../../lab/test-run/verdict.ts';
import type { MatrixColumn, MatrixReport } from '../matrix.ts';

/** The matrix as one page that needs nothing else: a row for each test, a column for each cell, which leads to the report of its run. */
export function matrixPage({ matrix, verdict, columns }: MatrixReport): string {
  const outcomes = columns.map(({ report }) => new Map(report.tests.map((test) => [test.name, test])));
  const names = testNames(columns.map(({ report }) => report));
  const rows = names.map((name) =>
    row(
      name,
      outcomes.map((tests) => tests.get(name)),
    ),
  );
  const body = `<p id="filter">
<label>Find <input type="search" id="words" placeholder="name or reason"></label>
<label><input type="checkbox" id="differing"> only tests whose verdicts differ</label>
</p>
<table>
<thead>
<tr><th>test${columns.map(head).join('')}
<tr><th>${columns.map(({ report }) => `<th class="counts">${escapeHtml(countsText(report.counts))}`).join('')}
</thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>`;
  return page(matrix, verdict, { body, style, script });
}

function head({ label, report }: MatrixColumn): string {
  const name = escapeHtml(label);
  const title = escapeHtml(report.problems.join(' '));
  return report.run === ''
    ? `<th title="${title}">${name}`
    : `<th title="${title}"><a href="../../results/${encodeURIComponent(report.run)}/index.html">${name}</a>`;
}

function row(name: string, outcomes: readonly (TestOutcome | undefined)[]): string {
  const differs = new Set(outcomes.flatMap((outcome) => outcome?.status ?? [])).size > 1;
  const cells = outcomes.map((outcome) => {
    if (outcome === undefined) return '<td class="missing">no verdict';
    const { status, seconds, reason } = outcome;
    const text = status === 'passed' ? `${seconds.toFixed(1)} s` : `${status}: ${reason.split('\n')[0]}`;
    return `<td class="${status}">${escapeHtml(text)}`;
  });
  return `<tr${differs ? ' class="differs"' : ''}><td>${escapeHtml(name)}${cells.join('')}`;
}

const style = `
th.counts { font-weight: normal; font-size: .85rem }
tbody td.failed, tbody td.crashed, tbody td.hung, tbody td.missing { color: #c8372d; font-weight: 600 }
tbody td.notrun { opacity: .65 }
tbody td:nth-child(n) { text-align: left }
`;

const script = `
const words = document.getElementById('words');
const differing = document.getElementById('differing');
const rows = [...document.querySelectorAll('tbody tr')];
function show() {
  const wanted = words.value.toLowerCase();
  for (const row of rows)
    row.hidden = (differing.checked && row.className !== 'differs') || !row.textContent.toLowerCase().includes(wanted);
}
for (const input of [words, differing]) input.addEventListener('input', show);
`;
