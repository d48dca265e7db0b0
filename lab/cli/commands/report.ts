// SPDX-License-Identifier: BSD-3-Clause

import { type Command, Option } from 'commander';
import { compareRuns } from '../../../xfstests-runner/compare.ts';
import { gatherEvidence } from '../../../xfstests-runner/report/evidence.ts';
import { htmlPage } from '../../../xfstests-runner/report/html.ts';
import { junitXml } from '../../../xfstests-runner/report/junit.ts';
import { markdownSummary, terminalSummary } from '../../../xfstests-runner/report/summary.ts';
import { findReport, findRunDirectory } from '../../../xfstests-runner/stored-runs.ts';
import { ExitCode } from '../../errors.ts';
import { runWithSettings } from '../run-command.ts';

interface Options {
  readonly format: 'text' | 'markdown' | 'html' | 'junit';
  readonly baseline?: string;
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
    .addHelpText(
      'after',
      '\nEvery run has them beside its results already: report.json, summary.md, index.html, junit.xml.',
    )
    .action((run: string, options: Options, command: Command) =>
      runWithSettings(command, async (context) => {
        const directory = await findRunDirectory(context, run);
        const report = await findReport(context, run);
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
