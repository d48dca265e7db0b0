// SPDX-License-Identifier: BSD-3-Clause

import { type Counts, type RunReport, suiteOf, type TestOutcome, type Verdict } from '../verdict.ts';

/** `42 passed, 1 failed, 3 not run`: what there was none of is left out, but for passed. */
export function countsText(counts: Counts): string {
  const parts = [`${counts.passed} passed`];
  if (counts.failed > 0) parts.push(`${counts.failed} failed`);
  if (counts.crashed > 0) parts.push(`${counts.crashed} crashed`);
  if (counts.hung > 0) parts.push(`${counts.hung} hung`);
  if (counts.notrun > 0) parts.push(`${counts.notrun} not run`);
  return parts.join(', ');
}

export const verdictText: Readonly<Record<Verdict, string>> = {
  passed: 'passed',
  failed: 'FAILED',
  incomplete: 'INCOMPLETE: the lab failed, so this is no verdict on the file system',
};

/** One line for a finished test: name, verdict, seconds, reason. */
export function testLine(test: TestOutcome): string {
  const reason = test.reason === '' ? '' : `  ${test.reason.split('\n')[0]}`;
  return `${test.name.padEnd(12)} ${test.status.padEnd(7)} ${test.seconds.toFixed(1).padStart(6)} s${reason}`;
}

/** A line for each of the machines that a run was spread over. */
export function nodeLines({ nodes = [] }: RunReport): string[] {
  return nodes.map(({ node, tests, seconds }) => `${node}: ${tests} tests, ${seconds.toFixed(0)} s`);
}

/** The closing lines on the terminal: every test that is not a pass, the counts, where the details are. */
export function terminalSummary(report: RunReport, directory: string): string {
  const bad = report.tests.filter((test) => test.status !== 'passed' && test.status !== 'notrun');
  return [
    ...bad.map(testLine),
    ...report.missing.map((name) => `${name.padEnd(12)} without a verdict`),
    ...report.problems,
    ...nodeLines(report),
    `${suiteOf(report)} on ${report.fileSystem}: ${verdictText[report.verdict]} (${countsText(report.counts)}, ${report.seconds.toFixed(0)} s)`,
    `Details: ${directory}`,
  ].join('\n');
}

/** The run for people, as Markdown: verdict, what did not pass, what did not run and why, and everything. */
export function markdownSummary(report: RunReport): string {
  const bad = report.tests.filter((test) => test.status !== 'passed' && test.status !== 'notrun');
  const notrun = report.tests.filter((test) => test.status === 'notrun');
  const sections = [
    `# ${suiteOf(report)} on ${report.fileSystem}: ${report.verdict}`,
    `${countsText(report.counts)}; ${report.seconds.toFixed(0)} s; run ${report.run}, started ${report.started}.`,
    ...report.problems.map((problem) => `**${cell(problem)}**`),
    ...nodeLines(report).map((line) => `- ${cell(line)}`),
    ...(report.missing.length > 0 ? [`Without a verdict: ${report.missing.join(', ')}.`] : []),
    ...(bad.length > 0 ? ['## Not passed', table(bad)] : []),
    ...(notrun.length > 0 ? ['## Not run', table(notrun)] : []),
    '## All tests',
    table(report.tests),
  ];
  return `${sections.join('\n\n')}\n`;
}

function table(tests: readonly TestOutcome[]): string {
  const rows = tests.map(
    (test) => `| ${test.name} | ${test.status} | ${test.seconds.toFixed(1)} | ${cell(test.reason)} |`,
  );
  return ['| test | verdict | seconds | reason |', '| --- | --- | ---: | --- |', ...rows].join('\n');
}

function cell(text: string): string {
  return (text.split('\n')[0] ?? '').replaceAll('|', '\\|');
}
