// SPDX-License-Identifier: BSD-3-Clause

import { type RunReport, type TestOutcome, testNames } from '../../lab/test-run/verdict.ts';
import { groupNotrun, type NotrunGroup, type NotrunGroups, unexplained } from '../notrun-groups.ts';

/**
 * Runs beside each other as Markdown: what passed, what did not, what did not run by group and why, and every test. What did not run
 * for a reason that no group has is listed by name. `head`: what each is called, for runs on the same file system.
 */
export function besideMarkdown(
  reports: readonly RunReport[],
  groups: NotrunGroups,
  head: readonly string[] = reports.map(({ fileSystem }) => fileSystem),
): string {
  const columns = reports.map((report, at) => ({
    report,
    name: head[at],
    notrun: groupNotrun(groups, report.fileSystem, report.tests),
  }));
  const bad = columns.map(({ report }) =>
    report.tests.filter(({ status }) => status !== 'passed' && status !== 'notrun'),
  );
  return [
    ...columns.map(({ name, report }) => `- ${name}: ${origin(report)}`),
    '',
    ...table(
      ['', ...head],
      [
        ['tests', ...columns.map(({ report }) => `${report.tests.length + report.missing.length}`)],
        ['run', ...columns.map(({ report }) => `${report.tests.length - report.counts.notrun}`)],
        ['passed', ...columns.map(({ report }) => `${report.counts.passed}`)],
        ...(['failed', 'crashed', 'hung'] as const).map((status) => [
          status,
          ...columns.map(({ report }) => `${report.counts[status]}`),
        ]),
        ['not run', ...columns.map(({ report }) => `${report.counts.notrun}`)],
        ...(columns.some(({ report }) => report.missing.length > 0)
          ? [['without a verdict', ...columns.map(({ report }) => `${report.missing.length}`)]]
          : []),
        ['minutes', ...columns.map(({ report }) => (report.seconds / 60).toFixed(0))],
      ],
    ),
    ...(bad.some((tests) => tests.length > 0)
      ? [
          '',
          'Not passed:',
          '',
          ...bad.flatMap((tests, at) =>
            tests.map(({ name, status, reason }) => `- ${head[at]}, ${name}: ${status}: ${oneLine(reason)}`),
          ),
        ]
      : []),
    '',
    'Not run, by reason:',
    '',
    ...table(
      ['group', ...head, 'why'],
      groupNames(columns.map(({ notrun }) => notrun)).map(({ name, why }) => [
        name,
        ...columns.map(({ notrun }) => `${notrun.find((group) => group.name === name)?.tests.length ?? 0}`),
        why === '' ? '**in no group: see below**' : why,
      ]),
    ),
    ...columns.flatMap(({ name: column, notrun }) =>
      (notrun.find(({ name }) => name === unexplained)?.tests ?? []).map(
        ({ name, reason }, at) =>
          `${at === 0 ? `\nUnexplained on ${column}:\n\n` : ''}- ${name}: ${oneLine(reason)}`,
      ),
    ),
    '',
    '<details><summary>Every test</summary>',
    '',
    ...table(['test', ...head], everyTest(reports)),
    '',
    '</details>',
  ].join('\n');
}

function origin({ run, started, shards, provenance, problems }: RunReport): string {
  if (run === '') return `no run: ${problems.map(oneLine).join(' ')}`;
  const { kernel, flavour, accelerator, cpus } = provenance;
  const vms = shards === 1 ? 'one VM' : `${shards} VMs`;
  return `run ${run}, ${started.slice(0, 16).replace('T', ' ')} UTC, ${vms} of ${cpus} vCPUs (${accelerator}), kernel ${kernel} (${flavour})`;
}

/** Every group of any run: largest first, the unexplained last, as in the first run that has it. */
function groupNames(all: readonly (readonly NotrunGroup[])[]): { name: string; why: string }[] {
  const total = new Map<string, { why: string[]; count: number }>();
  for (const { name, why, tests } of all.flat()) {
    const entry = total.get(name) ?? { why: [], count: 0 };
    if (!entry.why.includes(why)) entry.why.push(why);
    entry.count += tests.length;
    total.set(name, entry);
  }
  return [...total]
    .sort(
      ([a, one], [b, other]) =>
        Number(a === unexplained) - Number(b === unexplained) || other.count - one.count,
    )
    .map(([name, { why }]) => ({ name, why: why.join('; ') }));
}

function everyTest(reports: readonly RunReport[]): string[][] {
  const byName = reports.map(({ tests }) => new Map(tests.map((test) => [test.name, test])));
  return testNames(reports).map((name) => [name, ...byName.map((tests) => verdictCell(tests.get(name)))]);
}

function verdictCell(test: TestOutcome | undefined): string {
  if (test === undefined) return '';
  if (test.status === 'notrun') return `not run: ${oneLine(test.reason)}`;
  const seconds = `${test.seconds.toFixed(0)} s`;
  return test.status === 'passed' ? seconds : `**${test.status}** after ${seconds}: ${oneLine(test.reason)}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

function oneLine(text: string): string {
  return text.split('\n')[0].replaceAll('<', '&lt;');
}
