// SPDX-License-Identifier: BSD-3-Clause

import { access, readFile, rename, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import type { LabContext, SettingsContext } from '../lab/context.ts';
import { asLabError } from '../lab/describe-error.ts';
import { InterruptedError, LabError } from '../lab/errors.ts';
import { makeRunDirectory } from '../lab/test-run/run-directory.ts';
import {
  countOutcomes,
  type RunReport,
  reportSchema,
  type Verdict,
  worstVerdict,
} from '../lab/test-run/verdict.ts';
import { hasPlan } from './journal.ts';
import { readNotrunGroups } from './notrun-groups.ts';
import { matrixPage } from './report/matrix-page.ts';
import { matrixSummary } from './report/matrix-summary.ts';
import type { XfstestsResult } from './xfstests.ts';

/** What a matrix has every combination of. */
export interface MatrixAxes {
  /** As `kernel.source` has them. */
  readonly kernels: readonly string[];
  readonly flavours: readonly ('release' | 'debug')[];
  /** Names of profiles (`filesystems.ts`). */
  readonly fileSystems: readonly string[];
}

const cellSchema = z.object({
  kernel: z.string(),
  flavour: z.enum(['release', 'debug']),
  fileSystem: z.string(),
  /** Directory of the cell's run, once there is one. */
  directory: z.string().optional(),
});

export type MatrixCell = z.infer<typeof cellSchema>;

const planSchema = z.object({
  tests: z.array(z.string()),
  cells: z.array(cellSchema).min(1),
  /** How each cell is run, also when the matrix is resumed. */
  how: z.object({
    engine: z.enum(['local', 'swarm']),
    shards: z.number(),
    testTimeout: z.number().exactOptional(),
    soak: z.number().exactOptional(),
    runExpunged: z.boolean().exactOptional(),
  }),
});

export type MatrixPlan = z.infer<typeof planSchema>;

export interface MatrixColumn {
  /** What tells the cell from the others: `zpmfs`, or `zpmfs, debug, linux-next`. */
  readonly label: string;
  readonly report: RunReport;
}

/** The same tests on every cell. */
export interface MatrixReport {
  /** Name of its directory. */
  readonly matrix: string;
  /** The worst of its columns'. */
  readonly verdict: Verdict;
  readonly columns: readonly MatrixColumn[];
}

/** A cell's run. */
export interface CellWork {
  readonly cell: MatrixCell;
  readonly how: MatrixPlan['how'];
  /** Tests by name, or directory of a run to go on with. */
  readonly what: { readonly tests: readonly string[] } | { readonly resume: string };
  /** To be told where the run lies as soon as that is known. */
  readonly onDirectory: (directory: string) => Promise<void>;
}

export type RunCell = (work: CellWork, context: LabContext) => Promise<XfstestsResult>;

/** Every combination, once. File systems change fastest: they can be run in the same VM, one after the other. */
export function matrixCells(axes: MatrixAxes): MatrixCell[] {
  const cells = axes.kernels.flatMap((kernel) =>
    axes.flavours.flatMap((flavour) =>
      axes.fileSystems.map((fileSystem) => ({ kernel, flavour, fileSystem })),
    ),
  );
  return [...new Map(cells.map((cell) => [JSON.stringify(cell), cell])).values()];
}

/** Of each cell what is not the same in all. A kernel tree goes by the name of its directory where that is enough. */
export function columnLabels(cells: readonly MatrixCell[]): string[] {
  const kernels = new Set(cells.map(({ kernel }) => kernel));
  const short = new Set([...kernels].map((kernel) => basename(kernel)));
  const kernelName = (kernel: string): string => (short.size === kernels.size ? basename(kernel) : kernel);
  const parts: ((cell: MatrixCell) => string)[] = [
    ({ fileSystem }) => fileSystem,
    ({ flavour }) => flavour,
    ({ kernel }) => kernelName(kernel),
  ];
  const differing = parts.filter((part) => new Set(cells.map(part)).size > 1);
  return cells.map((cell) =>
    (differing.length === 0 ? parts : differing).map((part) => part(cell)).join(', '),
  );
}

const planFile = 'matrix.json';

function matrixRoot(packageRoot: string): string {
  return join(packageRoot, 'build', 'matrix');
}

/** A new directory for a matrix, with its plan. */
export async function makeMatrix(context: SettingsContext, plan: MatrixPlan, now: Date): Promise<string> {
  const { directory } = await makeRunDirectory(matrixRoot(context.packageRoot), 'matrix', now);
  await writePlan(directory, plan);
  return directory;
}

/** Directory of a matrix of this checkout, by its name or path; undefined when `called` is none. */
export async function findMatrix(context: SettingsContext, called: string): Promise<string | undefined> {
  for (const place of [join(matrixRoot(context.packageRoot), called), resolve(called)]) {
    const isOne = await access(join(place, planFile)).then(
      () => true,
      () => false,
    );
    if (isOne) return place;
  }
  return undefined;
}

async function readPlan(directory: string): Promise<MatrixPlan> {
  const file = join(directory, planFile);
  try {
    return planSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    throw new LabError(`${file} is not the plan of a matrix.`, { cause: error });
  }
}

async function writePlan(directory: string, plan: MatrixPlan): Promise<void> {
  const file = join(directory, planFile);
  await writeFile(`${file}.new`, `${JSON.stringify(plan, undefined, 2)}\n`);
  await rename(`${file}.new`, file);
}

/**
 * Run the cells of the matrix in `directory` that have no verdict yet, one after the other, and put the reports there, whatever
 * happens. A cell whose lab fails (a kernel that does not build) is incomplete, and the others are run all the same. Interrupted, it
 * rejects with `InterruptedError`.
 */
export async function runMatrix(directory: string, run: RunCell, context: LabContext): Promise<MatrixReport> {
  const plan = await readPlan(directory);
  const { cells, tests } = plan;
  const labels = columnLabels(cells);
  const reports = await Promise.all(
    cells.map(async (cell) => (await reportIn(cell.directory)) ?? withoutRun(cell, tests, 'Not begun.')),
  );
  const result = (): MatrixReport => ({
    matrix: basename(directory),
    verdict: worstVerdict(reports),
    columns: reports.map((report, at) => ({ label: labels[at], report })),
  });
  try {
    for (const [at, cell] of cells.entries()) {
      if (reports[at].verdict !== 'incomplete') continue;
      if (context.signal.aborted) break;
      reports[at] = await context.step(`Matrix: ${labels[at]}`, (step) => {
        step.progress.note(`${at + 1} of ${cells.length}`);
        return runOne(directory, plan, cell, run, step);
      });
    }
  } finally {
    await writeReports(directory, result(), context);
  }
  if (context.signal.aborted) throw new InterruptedError();
  return result();
}

async function runOne(
  directory: string,
  plan: MatrixPlan,
  cell: MatrixCell,
  run: RunCell,
  context: LabContext,
): Promise<RunReport> {
  const { tests, how } = plan;
  const begun = cell.directory !== undefined && (await hasPlan(cell.directory)) ? cell.directory : undefined;
  const what = begun === undefined ? { tests } : { resume: begun };
  const onDirectory = async (runDirectory: string): Promise<void> => {
    cell.directory = runDirectory;
    await writePlan(directory, plan);
  };
  try {
    const { report } = await run({ cell, how, what, onDirectory }, context);
    return report;
  } catch (caught) {
    const error = context.signal.aborted ? new InterruptedError() : asLabError(caught);
    if (!(error instanceof LabError)) throw error;
    const problem = [error.message, ...(error.hint === undefined ? [] : [error.hint])].join(' ');
    if (!context.signal.aborted) context.progress.note(problem);
    const found = await reportIn(cell.directory);
    if (found === undefined) return withoutRun(cell, tests, problem);
    return { ...found, verdict: 'incomplete', problems: [...new Set([...found.problems, problem])] };
  }
}

/** Undefined when there is none, or what is there is none. */
async function reportIn(directory: string | undefined): Promise<RunReport | undefined> {
  if (directory === undefined) return undefined;
  const text = await readFile(join(directory, 'report.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return reportSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** The report of a cell of which there is no run, and why. */
function withoutRun(
  { fileSystem, flavour, kernel }: MatrixCell,
  tests: readonly string[],
  problem: string,
): RunReport {
  return {
    run: '',
    verdict: 'incomplete',
    counts: countOutcomes([]),
    tests: [],
    missing: [...tests],
    problems: [problem],
    events: [],
    fileSystem,
    seconds: 0,
    started: new Date().toISOString(),
    shards: 0,
    provenance: { kernel, flavour, image: '', server: '', xfstests: '', accelerator: '', cpus: 0 },
  };
}

async function writeReports(
  directory: string,
  result: MatrixReport,
  { packageRoot }: SettingsContext,
): Promise<void> {
  const groups = readNotrunGroups(packageRoot);
  await writeFile(join(directory, 'report.json'), `${JSON.stringify(result, undefined, 2)}\n`);
  await writeFile(join(directory, 'summary.md'), matrixSummary(result, groups));
  await writeFile(join(directory, 'index.html'), matrixPage(result));
}
