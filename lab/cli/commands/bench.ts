// SPDX-License-Identifier: BSD-3-Clause

import { type Command, Option } from 'commander';
import { compareBenches, comparisonText } from '../../../bench/compare.ts';
import { runBench } from '../../../bench/in-lab.ts';
import { readRun } from '../../../bench/journal.ts';
import { repeatBench, repeatBenchOnSwarm } from '../../../bench/repeat.ts';
import { markdownReport, terminalReport } from '../../../bench/report/markdown.ts';
import { type RepeatsReport, repeatsText } from '../../../bench/report/repeats.ts';
import type { BenchReport } from '../../../bench/report/results.ts';
import { findReport, findRun } from '../../../bench/stored-runs.ts';
import { ExitCode, LabError } from '../../errors.ts';
import { count, type Engine, engineOption } from '../option-values.ts';
import { runCommand, runWithSettings } from '../run-command.ts';

interface Options {
  readonly matrix?: string;
  readonly resume?: string | true;
  readonly repeat?: number;
  readonly engine: Engine;
}

export function register(program: Command): void {
  const bench = program
    .command('bench')
    .description('measure file systems beside each other, in a VM booted for it')
    .addOption(
      new Option('--matrix <name>', 'smoke, short (default), full, or a YAML file of yours').conflicts(
        'resume',
      ),
    )
    .option('--resume [run]', 'go on with a run that was ended (default: the latest)')
    .addOption(
      new Option(
        '--repeat <n>',
        'the whole matrix so many times, each as a run of its own, and a summary of their ratios',
      )
        .argParser(count)
        .conflicts('resume'),
    )
    .addOption(engineOption())
    .addHelpText(
      'after',
      `
A run leaves build/bench/<run>/: bench.json, summary.md, index.html with all plots, and each plot as SVG. Its lab is named
after the one of --name (default-bench) and ends with it; vm.cpus, vm.nodes and the like come from the matrix where it says so.
With --repeat there is build/bench-repeats/<time>-<matrix>/ besides: the ratios of each run, their median and spread, and which machine
it was. With --engine swarm each repeat is measured by a task of a Docker Swarm (docs/scale.md), one on a node at a time.

Exit code 1 when a measurement failed, 2 when the lab failed. Figures never decide it.

  npx zufs-lab bench
  npx zufs-lab bench --matrix full
  npx zufs-lab bench --engine swarm --repeat 4
  npx zufs-lab bench compare BEFORE AFTER`,
    )
    .action((options: Options, command: Command) =>
      runCommand(command, async (context) => {
        const { matrix, resume, repeat, engine } = options;
        if (engine === 'swarm' && resume !== undefined) {
          throw new LabError('--resume goes on with a run of this machine: it takes no --engine swarm.');
        }
        if (repeat !== undefined || engine === 'swarm') {
          const request = { repeats: repeat ?? 1, ...(matrix === undefined ? {} : { matrix }) };
          const run = engine === 'swarm' ? repeatBenchOnSwarm : repeatBench;
          const { report, directory } = await run(context, request);
          context.print(report, repeatsText(report, directory));
          return exitCodeOf(report);
        }
        const { report, directory } = await runBench(context, {
          ...(matrix === undefined ? {} : { matrix }),
          ...(resume === undefined
            ? {}
            : { resume: await findRun(context.packageRoot, resume === true ? 'latest' : resume) }),
        });
        context.print(brief(report), terminalReport(report, directory));
        return report.failures.length > 0 || report.incomplete ? ExitCode.testsFailed : ExitCode.ok;
      }),
    );
  bench
    .command('compare')
    .description('what changed from one run to another beyond the noise')
    .argument('<before>', 'a run, its directory, its bench.json, or latest')
    .argument('<after>', 'the same')
    .addHelpText(
      'after',
      `
A cell counts as changed when both runs have three rounds of it or more, the medians are 5 % apart or more, and the rounds
of the one all lie above or all below those of the other.`,
    )
    .action((before: string, after: string, _options: unknown, command: Command) =>
      runWithSettings(command, async (context) => {
        const { packageRoot } = context;
        const comparison = compareBenches(
          await findReport(packageRoot, before),
          await findReport(packageRoot, after),
        );
        context.print(comparison, comparisonText(comparison));
        return ExitCode.ok;
      }),
    );
  bench
    .command('report')
    .description('the report of a run, on stdout')
    .argument('[run]', 'a run, its directory, or latest', 'latest')
    .addOption(
      new Option('--format <format>', 'what docs and terminals want')
        .choices(['text', 'markdown'])
        .default('text'),
    )
    .action((run: string, options: { format: 'text' | 'markdown' }, command: Command) =>
      runWithSettings(command, async (context) => {
        const report = await findReport(context.packageRoot, run);
        const directory = await findRun(context.packageRoot, run);
        if (options.format === 'text') context.print(brief(report), terminalReport(report, directory));
        else context.print(brief(report), await markdownOf(directory, report));
        return ExitCode.ok;
      }),
    );
}

async function markdownOf(directory: string, report: BenchReport): Promise<string> {
  const { plan } = await readRun(directory);
  const workloads = new Map(plan.workloads.map((one) => [one.name, one]));
  const fileSystems = new Map(plan.fileSystems.map((one) => [one.name, one]));
  return markdownReport(report, { workloads, fileSystems }).trimEnd();
}

/** A repeat without figures is the lab's failure, a measurement without one its own. */
function exitCodeOf({ runs, missing }: RepeatsReport): number {
  if (missing.length > 0) return ExitCode.labFailed;
  return runs.some(({ failures, incomplete }) => failures > 0 || incomplete)
    ? ExitCode.testsFailed
    : ExitCode.ok;
}

/** Without the distributions, of which `bench.json` has every bin. */
function brief(report: BenchReport): unknown {
  return { ...report, results: report.results.map(({ latencies: _, ...result }) => result) };
}
