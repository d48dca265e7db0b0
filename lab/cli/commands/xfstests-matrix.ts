// SPDX-License-Identifier: BSD-3-Clause

import { basename } from 'node:path';
import { type InLabRequest, runXfstestsInLab } from '../../../xfstests-runner/in-lab.ts';
import {
  type MatrixAxes,
  type MatrixCell,
  type MatrixReport,
  makeMatrix,
  type RunCell,
  runMatrix,
} from '../../../xfstests-runner/matrix.ts';
import { runXfstestsOnSwarm } from '../../../xfstests-runner/on-swarm.ts';
import { matrixText } from '../../../xfstests-runner/report/matrix-summary.ts';
import { exitCodeOf } from '../../../xfstests-runner/verdict.ts';
import { withTestsNamed } from '../../../xfstests-runner/xfstests.ts';
import type { LabContext } from '../../context.ts';
import { endLab } from '../../vm/running.ts';
import { siblingStateDir } from '../../vm/state.ts';

export type Flavour = MatrixAxes['flavours'][number];

/** A matrix to begin, with its cells, or one to go on with, in its directory. */
export type MatrixWork = {
  readonly request: InLabRequest;
  readonly engine: 'local' | 'swarm';
} & ({ readonly cells: readonly MatrixCell[] } | { readonly directory: string });

/** The context with another kernel; what is undefined stays. */
export function withKernel(
  context: LabContext,
  source: string | undefined,
  flavour: Flavour | undefined,
): LabContext {
  const { config } = context;
  const kernel = {
    ...config.kernel,
    ...(source === undefined ? {} : { source }),
    ...(flavour === undefined ? {} : { flavour }),
  };
  return { ...context, config: { ...config, kernel } };
}

/** Run the cells in a lab of their own, print the report, and return the exit code. */
export async function runMatrixCommand(work: MatrixWork, context: LabContext): Promise<number> {
  const { request, engine } = work;
  const directory = 'directory' in work ? work.directory : await begin(work.cells, request, context);
  const name = `${context.name}-matrix`;
  const stateDir = siblingStateDir(context, name);
  const run: RunCell = async ({ kernel, flavour, fileSystem }, work, onDirectory) => {
    const cell = withKernel(context, kernel, flavour);
    const { selection, resume, ...rest } = request;
    const given = {
      ...rest,
      fileSystem,
      onDirectory,
      ...('resume' in work ? work : { selection: { tests: work.tests } }),
    };
    const [result] =
      engine === 'swarm'
        ? await runXfstestsOnSwarm(cell, given)
        : await runXfstestsInLab({ ...cell, name, stateDir }, { ...given, build: true });
    return result;
  };
  let result: MatrixReport;
  try {
    result = await runMatrix(directory, run, context);
  } catch (error) {
    if (context.signal.aborted)
      context.progress.note(`To go on: zufs-lab xfstests --resume ${basename(directory)}`);
    throw error;
  } finally {
    await endLab(context, name, stateDir, { keepLogs: true });
  }
  context.print(result, matrixText(result, directory));
  return exitCodeOf(result.verdict);
}

/** All cells run the same tests, whatever times are recorded meanwhile. */
async function begin(
  cells: readonly MatrixCell[],
  request: InLabRequest,
  context: LabContext,
): Promise<string> {
  const { selection } = await context.step('xfstests tree', (step) => withTestsNamed(step, request));
  return await makeMatrix(context, { tests: [...(selection?.tests ?? [])], cells: [...cells] }, new Date());
}
