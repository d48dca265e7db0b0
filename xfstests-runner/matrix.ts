// SPDX-License-Identifier: BSD-3-Clause

import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import type { LabContext, SettingsContext } from '../lab/context.ts';
import { asLabError } from '../lab/describe-error.ts';
import { InterruptedError, LabError } from '../lab/errors.ts';
import { hasPlan } from './journal.ts';
import { readNotrunGroups } from './notrun-groups.ts';
import { matrixPage } from './report/matrix-page.ts';
import { matrixSummary } from './report/matrix-summary.ts';
import { type RunReport, reportSchema, type Verdict } from './verdict.ts';
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

/** A cell's run: `tests` by name, or what is left of the one in `resume`. Says where it lies as soon as that is known. */
export type RunCell = (
  cell: MatrixCell,
  work: { readonly tests: readonly string[] } | { readonly resume: string },
  onDirectory: (directory: string) => Promise<void>,
) => Promise<XfstestsResult>;

/** Every combination. File systems change fastest: they can be run in the same VM, one after the other. */
export function matrixCells({ kernels, flavours, fileSystems }: MatrixAxes): MatrixCell[] {
  return kernels.flatMap((kernel) =>
    flavours.flatMap((flavour) => fileSystems.map((fileSystem) => ({ kernel, flavour, fileSystem }))),
  );
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
  const stamp = now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  const directory = join(matrixRoot(context.packageRoot), `${stamp}-matrix`);
  await mkdir(directory, { recursive: true });
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
  await writeFile(join(directory, planFile), `${JSON.stringify(plan, undefined, 2)}\n`);
}

/**
 * Run the cells of the matrix in `directory` that have no verdict yet, one after the other, and put the reports there. A cell whose
 * lab fails (a kernel that does not build) is incomplete, and the others are run all the same. Interrupted, it still writes the
 * reports of what ran, then rejects with `InterruptedError`.
 */
export async function runMatrix(directory: string, run: RunCell, context: LabContext): Promise<MatrixReport> {
  const plan = await readPlan(directory);
  const labels = columnLabels(plan.cells);
  const reports: RunReport[] = [];
  for (const [at, cell] of plan.cells.entries()) {
    const before = await reportIn(cell.directory);
    if (before !== undefined && before.verdict !== 'incomplete') {
      reports.push(before);
      continue;
    }
    const label = labels[at];
    reports.push(
      context.signal.aborted
        ? (before ?? withoutRun(cell, plan.tests, 'Not begun.'))
        : await context.step(`${label} (${at + 1} of ${plan.cells.length})`, (step) =>
            runOne(directory, plan, cell, run, step),
          ),
    );
  }
  const columns = reports.map((report, at) => ({ label: labels[at], report }));
  const result = { matrix: basename(directory), verdict: worstOf(reports), columns };
  await writeReports(directory, result, context);
  if (context.signal.aborted) throw new InterruptedError();
  return result;
}

async function runOne(
  directory: string,
  plan: MatrixPlan,
  cell: MatrixCell,
  run: RunCell,
  context: LabContext,
): Promise<RunReport> {
  const begun = cell.directory !== undefined && (await hasPlan(cell.directory)) ? cell.directory : undefined;
  const work = begun === undefined ? { tests: plan.tests } : { resume: begun };
  try {
    const { report } = await run(cell, work, async (runDirectory) => {
      cell.directory = runDirectory;
      await writePlan(directory, plan);
    });
    return report;
  } catch (caught) {
    const error = asLabError(caught);
    if (!(error instanceof LabError)) throw error;
    const found = await reportIn(cell.directory);
    if (context.signal.aborted) return found ?? withoutRun(cell, plan.tests, 'Interrupted.');
    const problem = [error.message, ...(error.hint === undefined ? [] : [error.hint])].join(' ');
    context.progress.note(problem);
    return found ?? withoutRun(cell, plan.tests, problem);
  }
}

async function reportIn(directory: string | undefined): Promise<RunReport | undefined> {
  if (directory === undefined) return undefined;
  const text = await readFile(join(directory, 'report.json'), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : reportSchema.parse(JSON.parse(text));
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
    counts: { passed: 0, failed: 0, notrun: 0, crashed: 0, hung: 0 },
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

function worstOf(reports: readonly RunReport[]): Verdict {
  const worstFirst = ['incomplete', 'failed', 'passed'] as const;
  return worstFirst.find((verdict) => reports.some((report) => report.verdict === verdict)) ?? 'incomplete';
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
