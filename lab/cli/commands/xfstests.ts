// SPDX-License-Identifier: BSD-3-Clause

import { type Command, InvalidArgumentError, Option } from 'commander';
import { changedAreas } from '../../../xfstests-runner/changed.ts';
import { runXfstestsOnSwarm } from '../../../xfstests-runner/elsewhere.ts';
import { fileSystemProfile } from '../../../xfstests-runner/filesystems.ts';
import { type InLabRequest, runXfstestsInLab } from '../../../xfstests-runner/in-lab.ts';
import { findMatrix, matrixCells } from '../../../xfstests-runner/matrix.ts';
import { readTestList, type Selection, testLists } from '../../../xfstests-runner/selection.ts';
import { findReport, findRunDirectory, saveBaseline } from '../../../xfstests-runner/stored-runs.ts';
import { absoluteSource } from '../../config/layer.ts';
import type { LabContext } from '../../context.ts';
import { LabError } from '../../errors.ts';
import { compareRuns, comparisonText } from '../../test-run/compare.ts';
import { mergeRepeats, repeatText } from '../../test-run/repeat.ts';
import { terminalSummary } from '../../test-run/report/summary.ts';
import { exitCodeOf, type RunReport } from '../../test-run/verdict.ts';
import { commaList, count, duration, type Engine, engineOption } from '../option-values.ts';
import { runCommand } from '../run-command.ts';
import { type Flavour, type MatrixWork, runMatrixCommand, withKernel } from './xfstests-matrix.ts';

interface Options {
  readonly tests?: readonly string[];
  readonly group?: string;
  readonly list?: (typeof testLists)[number];
  readonly exclude?: readonly string[];
  readonly changed?: string;
  readonly part?: Selection['part'];
  readonly shortest?: number;
  readonly fs?: readonly string[];
  readonly flavour?: readonly Flavour[];
  readonly kernel?: readonly string[];
  readonly timeout?: number;
  readonly build?: true;
  readonly shards: number;
  readonly engine: Engine;
  readonly repeat: number;
  readonly soak?: number;
  readonly resume?: string | true;
  readonly runExpunged?: true;
  readonly baseline?: string;
  readonly saveBaseline?: string;
}

export function register(program: Command): void {
  program
    .command('xfstests')
    .description('run xfstests in the lab, which is brought up if it is not')
    .option('--tests <list>', 'tests by name: generic/001,generic/013', commaList)
    .option('--group <group>', 'every generic test of a group, e.g. quick')
    .addOption(
      new Option('--list <name>', 'a list of the lab: its default, or what its CI runs').choices(testLists),
    )
    .option('--exclude <list>', 'tests to leave out', commaList)
    .option('--part <i/n>', 'the i-th of n parts of the selection, for jobs on several machines', partOf)
    .option('--shortest <n>', 'of the selection, the n tests that took least when they last passed', count)
    .option(
      '--changed <revision>',
      'only tests of what changed since then, here or in the kernel tree (of quick)',
    )
    .option(
      '--fs <list>',
      'the file system under test: zpmfs, ext4-dax, xfs-dax, tmpfs, or one of xfstests.filesystems (default: mount.filesystem)',
      commaList,
    )
    .option('--flavour <list>', 'the kernel: release or debug, as kernel.flavour', flavourList)
    .option('--kernel <list>', 'where the kernel comes from, as kernel.source: debian, ~/linux', sourceList)
    .option(
      '--build',
      'take the lab that runs only if it has the kernel and image of the settings, built if need be',
    )
    .option('--shards <n>', 'VMs beside each other, tests handed out by recorded times', count, 1)
    .addOption(engineOption())
    .option('--repeat <n>', 'runs one after the other; tests whose verdicts differ are listed', count, 1)
    .option('--soak <time>', 'how long tests that are made for it run: 90s, 30m, 2h', duration)
    .option('--resume [run]', 'go on with a run that was ended (default: the latest)')
    .option('--timeout <seconds>', 'what one test may take (default: xfstests.testTimeout)', count)
    .option('--run-expunged', 'run expunged tests too, and report those that pass')
    .option('--baseline <name>', 'compare with a run or baseline at the end')
    .option('--save-baseline <name>', 'keep the result under this name')
    .addHelpText(
      'after',
      `
Without --tests and --group: those of the settings, else the lab's own list of quick tests.
Of several file systems, flavours or kernels every combination is run, one after the other, with one report that has a column for
each; in VMs of a lab of its own. Exit code 1 when a test failed, 2 when the lab failed or nothing ran.

  npx zufs-lab xfstests --tests generic/001,generic/013
  npx zufs-lab xfstests --group quick --shards 2 --save-baseline before
  npx zufs-lab xfstests --group quick --fs ext4-dax
  npx zufs-lab xfstests --group quick --fs zpmfs,ext4-dax --flavour release,debug --kernel debian,~/linux
  npx zufs-lab xfstests --group quick --shortest 50 --repeat 20
  npx zufs-lab xfstests --resume`,
    )
    .action((options: Options, command: Command) =>
      runCommand(command, async (context) => {
        const matrix = await matrixOf(options, context);
        if (matrix !== undefined) return await runMatrixCommand(matrix, context);
        const own = withKernel(context, options.kernel?.[0], options.flavour?.[0]);
        const request = await requestOf(options, own);
        // Before the long work, so that a wrong name is heard of at once.
        const baseline =
          options.baseline === undefined ? undefined : await findReport(context, options.baseline);
        const run = options.engine === 'swarm' ? runXfstestsOnSwarm : runXfstestsInLab;
        const results = await run(own, request);
        const [first, ...more] = results.map(({ report }) => report);
        const last = results[results.length - 1];
        const merged = more.length === 0 ? undefined : mergeRepeats([first, ...more]);
        const report: RunReport = merged ?? first;
        if (options.saveBaseline !== undefined) await saveBaseline(context, options.saveBaseline, report);
        const comparison = baseline === undefined ? undefined : compareRuns(baseline, report, 1.5);
        context.print(
          comparison === undefined ? report : { ...report, comparison },
          [
            ...(comparison === undefined ? [] : [comparisonText(comparison)]),
            ...(merged === undefined ? [] : [repeatText(merged)]),
            terminalSummary(report, last.directory),
          ].join('\n'),
        );
        return exitCodeOf(report.verdict);
      }),
    );
}

/** What is to be run of a matrix: a new one, where an option has several values, or one to go on with. Undefined when it is one run. */
async function matrixOf(options: Options, context: LabContext): Promise<MatrixWork | undefined> {
  const { config } = context;
  const { kernel, flavour, fs, resume, engine } = options;
  const begun = typeof resume === 'string' ? await findMatrix(context, resume) : undefined;
  const names = kernel ?? flavour ?? fs;
  const cells = matrixCells({
    kernels: kernel ?? [config.kernel.source],
    flavours: flavour ?? [config.kernel.flavour],
    fileSystems: fs ?? [config.mount.filesystem],
  });
  if (cells.length === 0) throw new LabError('--kernel, --flavour and --fs take at least one name each.');
  if (cells.length === 1 && begun === undefined) return undefined;
  if (options.baseline !== undefined || options.saveBaseline !== undefined || options.repeat > 1) {
    throw new LabError(
      'Several file systems, flavours or kernels go with none of --repeat, --baseline, --save-baseline.',
      { hint: 'Compare the runs that the report leads to: zufs-lab compare.' },
    );
  }
  if (resume !== undefined && (begun === undefined || names !== undefined)) {
    throw new LabError('--resume goes on with the file systems, flavours and kernels that were begun.', {
      hint: 'Leave these out.',
    });
  }
  // A wrong name is heard of before the first of many runs.
  for (const { fileSystem } of cells)
    fileSystemProfile(fileSystem, context.packageRoot, config.xfstests.filesystems);
  const request = await requestOf(options, context);
  return begun === undefined ? { cells, request, engine } : { directory: begun };
}

async function requestOf(options: Options, context: LabContext): Promise<InLabRequest> {
  const { fs, timeout, soak, shards, repeat, resume, runExpunged } = options;
  // A lab that runs may have another kernel than the one that was named.
  const build = options.build ?? (options.kernel !== undefined && options.engine === 'local');
  const selects =
    options.tests !== undefined ||
    options.group !== undefined ||
    options.list !== undefined ||
    options.exclude !== undefined ||
    options.shortest !== undefined ||
    options.changed !== undefined;
  if (resume !== undefined && (selects || repeat > 1)) {
    throw new LabError('--resume goes on with the tests of a run: it takes no selection and no --repeat.');
  }
  return {
    shards,
    repeat,
    build,
    ...(fs === undefined ? {} : { fileSystem: fs[0] }),
    ...(timeout === undefined ? {} : { testTimeout: timeout }),
    ...(soak === undefined ? {} : { soak }),
    ...(runExpunged === undefined ? {} : { runExpunged }),
    ...(resume === undefined
      ? {
          selection: {
            ...selectionOf(options),
            ...(await listSelection(options, context)),
            ...(await changedSelection(options, context)),
          },
        }
      : { resume: await findRunDirectory(context, resume === true ? 'latest' : resume) }),
  };
}

async function listSelection(
  { list, tests = [] }: Options,
  context: LabContext,
): Promise<Partial<Selection>> {
  if (list === undefined) return {};
  return { tests: [...tests, ...(await readTestList(context.packageRoot, list))] };
}

async function changedSelection({ changed }: Options, context: LabContext): Promise<Partial<Selection>> {
  if (changed === undefined) return {};
  const { files, groups } = await changedAreas(context, changed);
  context.progress.note(`${files.length} changed files touch ${[...groups].join(', ')}.`);
  return { areas: groups };
}

/** `--exclude` alone takes away from what the settings or the default list select. */
function selectionOf({ tests, group, exclude, shortest, part }: Options): Partial<Selection> {
  return {
    ...(tests === undefined ? {} : { tests }),
    ...(group === undefined ? {} : { group }),
    ...(exclude === undefined ? {} : { exclude }),
    ...(shortest === undefined ? {} : { shortest }),
    ...(part === undefined ? {} : { part }),
  };
}

function flavourList(value: string, previous: readonly Flavour[] = []): Flavour[] {
  const isFlavour = (word: string): word is Flavour => word === 'release' || word === 'debug';
  const words = commaList(value);
  if (words.every(isFlavour)) return [...previous, ...words];
  throw new InvalidArgumentError('release, debug, or both with a comma between.');
}

function sourceList(value: string, previous: readonly string[] = []): string[] {
  return [...previous, ...commaList(value).map((source) => absoluteSource(source, process.cwd()))];
}

function partOf(value: string): { readonly number: number; readonly of: number } {
  const [number, of] = value.split('/').map(Number);
  if (Number.isInteger(number) && Number.isInteger(of) && number >= 1 && number <= of) return { number, of };
  throw new InvalidArgumentError('A part such as 1/4.');
}
