// SPDX-License-Identifier: BSD-3-Clause

import { escapeHtml } from '../../escape-html.ts';
import type { Comparison } from '../compare.ts';
import { type RunReport, suiteOf, type TestOutcome } from '../verdict.ts';
import type { Evidence } from './evidence.ts';
import { page } from './page.ts';
import { countsText, nodeLines } from './summary.ts';

/**
 * The run as one page that needs nothing else: verdict, a table of every test with a filter, what each failure left, and
 * times against a baseline where there is one.
 */
export function htmlPage(report: RunReport, evidence: Evidence, against?: Comparison): string {
  const before = new Map(against?.times.map(({ name, before }) => [name, before]));
  const rows = report.tests.map((test) => row(test, evidence.get(test.name), before.get(test.name)));
  const body = `<p>${escapeHtml(countsText(report.counts))} · ${report.seconds.toFixed(0)} s · ${report.shards} ${report.shards === 1 ? 'VM' : 'VMs'} · run ${escapeHtml(report.run)}, started ${escapeHtml(report.started)}</p>
<dl>${Object.entries(report.provenance)
    .map(([name, value]) => `<dt>${escapeHtml(name)}<dd>${escapeHtml(String(value))}`)
    .join('')}</dl>
${paragraphs('problem', report.problems)}${paragraphs('event', [...report.events, ...nodeLines(report)])}${paragraphs(
  'problem',
  report.missing.map((name) => `${name} is without a verdict.`),
)}
<p id="filter">
<label>Find <input type="search" id="words" placeholder="name or reason"></label>
${['passed', 'failed', 'crashed', 'hung', 'notrun'].map((status) => `<label><input type="checkbox" value="${status}" checked> ${status}</label>`).join('\n')}
</p>
<table>
<thead><tr><th>test<th>verdict<th>seconds${against === undefined ? '' : '<th>before'}<th>reason</thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>`;
  return page(`${suiteOf(report)} on ${report.fileSystem}`, report.verdict, { body, script });
}

function row(test: TestOutcome, left: string | undefined, before: number | undefined): string {
  const details =
    left === undefined || left === ''
      ? ''
      : `<details><summary>what it left</summary><pre>${escapeHtml(left)}</pre></details>`;
  const seconds = `<td>${test.seconds.toFixed(1)}`;
  const compared = before === undefined ? '' : `<td>${before.toFixed(1)}`;
  return `<tr class="${test.status}"><td>${escapeHtml(test.name)}<td>${test.status}${seconds}${compared}<td>${escapeHtml(test.reason)}${details}`;
}

function paragraphs(kind: string, sentences: readonly string[]): string {
  return sentences.map((sentence) => `<p class="${kind}">${escapeHtml(sentence)}</p>\n`).join('');
}

const script = `
const words = document.getElementById('words');
const boxes = [...document.querySelectorAll('#filter input[type=checkbox]')];
const rows = [...document.querySelectorAll('tbody tr')];
function show() {
  const wanted = words.value.toLowerCase();
  const kinds = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  for (const row of rows) row.hidden = !kinds.has(row.className) || !row.textContent.toLowerCase().includes(wanted);
}
for (const input of [words, ...boxes]) input.addEventListener('input', show);
`;
