// SPDX-License-Identifier: BSD-3-Clause

import { escapeHtml } from '../../lab/escape-html.ts';
import type { Comparison } from '../compare.ts';
import { type RunReport, suiteOf, type TestOutcome } from '../verdict.ts';
import type { Evidence } from './evidence.ts';
import { countsText, nodeLines, verdictText } from './summary.ts';

/**
 * The run as one page that needs nothing else: verdict, a table of every test with a filter, what each failure left, and
 * times against a baseline where there is one.
 */
export function htmlPage(report: RunReport, evidence: Evidence, against?: Comparison): string {
  const title = `${suiteOf(report)} on ${report.fileSystem}: ${report.verdict}`;
  const before = new Map(against?.times.map(({ name, before }) => [name, before]));
  const rows = report.tests.map((test) => row(test, evidence.get(test.name), before.get(test.name)));
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${pageStyle}</style>
<h1 class="${report.verdict}">${escapeHtml(`${suiteOf(report)} on ${report.fileSystem}: ${verdictText[report.verdict]}`)}</h1>
<p>${escapeHtml(countsText(report.counts))} · ${report.seconds.toFixed(0)} s · ${report.shards} ${report.shards === 1 ? 'VM' : 'VMs'} · run ${escapeHtml(report.run)}, started ${escapeHtml(report.started)}</p>
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
</table>
<script>${script}</script>
</html>
`;
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

/** Of all pages of runs. */
export const pageStyle = `
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; padding: .5rem .8rem; border-left: .4rem solid; }
h1.passed { border-color: #2a8f4a } h1.failed { border-color: #c8372d } h1.incomplete { border-color: #c98500 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; font-size: .85rem }
dt { opacity: .7 } dd { margin: 0; font-family: ui-monospace, monospace }
.problem { color: #c8372d; font-weight: 600 }
#filter label { margin-right: 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem; border-bottom: 1px solid #8884 }
td:nth-child(3) { text-align: right; font-variant-numeric: tabular-nums }
tr.failed td:nth-child(2), tr.crashed td:nth-child(2), tr.hung td:nth-child(2) { color: #c8372d; font-weight: 600 }
tr.notrun { opacity: .65 }
pre { max-height: 30rem; overflow: auto; background: #8881; padding: .6rem; font-size: .8rem }
`;

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
