// SPDX-License-Identifier: BSD-3-Clause

import { escapeHtml } from '../../lab/escape-html.ts';
import type { Declared } from '../declared.ts';
import { tables } from './markdown.ts';
import type { Plot } from './plots.ts';
import type { BenchReport } from './results.ts';
import { factLines, failureLines, resultTable, type Table, workloadsOf } from './text.ts';

/** The run as one page that needs nothing else: facts, ratios, and tables and plots of every workload. */
export function htmlReport(
  report: BenchReport,
  { workloads }: Pick<Declared, 'workloads'>,
  plots: readonly Plot[],
): string {
  const title = `Benchmark ${report.run.id}`;
  const figures = (names: readonly string[]) =>
    plots
      .filter(({ name }) => names.includes(name))
      .map(({ svg, title }) => `<figure aria-label="${escapeHtml(title)}">${svg}</figure>`)
      .join('\n');
  return htmlDocument(
    title,
    `${definitions(factLines(report))}
${failureLines(report)
  .map((line) => `<p class="problem">${escapeHtml(line)}</p>`)
  .join('\n')}
${tables(report)
  .map(
    ({ title, note, table }) => `<h2>${escapeHtml(title)}</h2><p>${escapeHtml(note)}</p>${htmlTable(table)}`,
  )
  .join('\n')}
${figures(['split'])}
${workloadsOf(report)
  .map(
    (name) => `<h2>${escapeHtml(name)}</h2>
<p>${escapeHtml(workloads.get(name)?.about ?? '')}.</p>
${figures([`throughput-${name}`, `latency-${name}`, `distribution-${name}`])}
${htmlTable(resultTable(report.results.filter(({ workload }) => workload === name)))}`,
  )
  .join('\n')}
<h2>How the file systems were had</h2>
${definitions(Object.entries(report.run.options))}`,
  );
}

/** A page that needs nothing else. */
export function htmlDocument(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
<h1>${escapeHtml(title)}</h1>
${body}
</html>
`;
}

export function htmlTable([head, ...rows]: Table): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr class="${cells.at(-1)?.startsWith('missed') ? 'missed' : ''}">${cells.map((cell) => `<${tag}>${escapeHtml(cell)}`).join('')}`;
  return `<table><thead>${row(head, 'th')}<tbody>${rows.map((cells) => row(cells, 'td')).join('\n')}</table>`;
}

function definitions(pairs: readonly (readonly [string, string])[]): string {
  const lines = pairs.map(([name, value]) => `<dt>${escapeHtml(name)}<dd>${escapeHtml(value)}`);
  return `<dl>${lines.join('')}</dl>`;
}

const style = `
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 90rem; padding: 0 1rem; }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; font-size: .85rem }
dt { opacity: .7 } dd { margin: 0; font-family: ui-monospace, monospace }
.problem, tr.missed { color: #c8372d }
figure { display: inline-block; margin: 0 1rem 1rem 0 }
figure svg { max-width: 100%; height: auto }
table { border-collapse: collapse }
th, td { text-align: right; padding: .15rem .6rem; border-bottom: 1px solid #8884; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left }
`;
