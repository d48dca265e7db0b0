// SPDX-License-Identifier: BSD-3-Clause

import { type Command, Option } from 'commander';
import { readNotrunGroups } from '../../../xfstests-runner/notrun-groups.ts';
import { besideMarkdown } from '../../../xfstests-runner/report/beside.ts';
import { findReport, findRunDirectory } from '../../../xfstests-runner/stored-runs.ts';
import { timeUseText, whereTimeGoes } from '../../../xfstests-runner/where-time-goes.ts';
import { ExitCode, LabError } from '../../errors.ts';
import { compareRuns } from '../../test-run/compare.ts';
import { gatherEvidence } from '../../test-run/report/evidence.ts';
import { htmlPage } from '../../test-run/report/html.ts';
import { junitXml } from '../../test-run/report/junit.ts';
import { markdownSummary, terminalSummary } from '../../test-run/report/summary.ts';
import { runWithSettings } from '../run-command.ts';

interface Options {
  readonly format: 'text' | 'markdown' | 'html' | 'junit';
  readonly baseline?: string;
  readonly beside?: string;
  readonly whereTimeGoes?: true;
}

export function register(program: Command): void {
  program
    .command('report')
    .description('the report of an xfstests run, on stdout')
    .argument('[run]', 'name of its directory, its path, or latest', 'latest')
    .addOption(
      new Option('--format <format>', 'text, markdown, html (one page that needs nothing else) or junit')
        .choices(['text', 'markdown', 'html', 'junit'])
        .default('text'),
    )
    .option('--baseline <name>', 'html: a run or baseline whose times stand beside')
    .option(
      '--beside <run>',
      'both runs in one Markdown table: passed, failed, not run by reason, and every test',
    )
    .option('--where-time-goes', 'what the time of the run went into')
    .addHelpText(
      'after',
      `
Every run has them beside its results already: report.json, summary.md, index.html, junit.xml.

  npx zufs-lab report latest --where-time-goes
  npx zufs-lab report RUN-ON-ZPMFS --beside RUN-ON-EXT4-DAX`,
    )
    .action((run: string, options: Options, command: Command) =>
      runWithSettings(command, async (context) => {
        const directory = await findRunDirectory(context, run);
        const report = await findReport(context, run);
        if (options.whereTimeGoes) {
          const use = await whereTimeGoes(directory, report);
          if (use === undefined) throw new LabError(`${directory} holds no times: an older lab's run.`);
          context.print(use, timeUseText(use));
          return ExitCode.ok;
        }
        if (options.beside !== undefined) {
          const reports = [report, await findReport(context, options.beside)];
          context.print(reports, besideMarkdown(reports, readNotrunGroups(context.packageRoot)));
          return ExitCode.ok;
        }
        const evidence = await gatherEvidence(directory, report.tests);
        const against =
          options.baseline === undefined
            ? undefined
            : compareRuns(await findReport(context, options.baseline), report, 1.5);
        const texts = {
          text: () => terminalSummary(report, directory),
          markdown: () => markdownSummary(report).trimEnd(),
          html: () => htmlPage(report, evidence, against).trimEnd(),
          junit: () => junitXml(report, evidence),
        };
        context.print(report, texts[options.format]());
        return ExitCode.ok;
      }),
    );
}
