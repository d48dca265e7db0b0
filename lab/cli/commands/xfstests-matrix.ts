// SPDX-License-Identifier: BSD-3-Clause

import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { runXfstestsOnSwarm } from '../../../xfstests-runner/elsewhere.ts';
import { type InLabRequest, runXfstestsInLab } from '../../../xfstests-runner/in-lab.ts';
import {
  type MatrixAxes,
  type MatrixCell,
  type MatrixPlan,
  makeMatrix,
  type RunCell,
  runMatrix,
} from '../../../xfstests-runner/matrix.ts';
import { matrixText } from '../../../xfstests-runner/report/matrix-summary.ts';
import { withTestsNamed } from '../../../xfstests-runner/xfstests.ts';
import type { LabContext } from '../../context.ts';
import { withLock } from '../../lock.ts';
import { exitCodeOf } from '../../test-run/verdict.ts';
import { endLab } from '../../vm/running.ts';
import { siblingStateDir } from '../../vm/state.ts';

export type Flavour = MatrixAxes['flavours'][number];

/** A matrix to begin, with its cells, or one to go on with, in its directory. */
export type MatrixWork =
  | {
      readonly cells: readonly MatrixCell[];
      readonly request: InLabRequest;
      readonly engine: MatrixPlan['how']['engine'];
    }
  | { readonly directory: string };

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

/** Run the cells, print the report, and return the exit code. On this machine it takes a lab of its own, which ends with it. */
export async function runMatrixCommand(work: MatrixWork, context: LabContext): Promise<number> {
  const directory = 'directory' in work ? work.directory : await begin(work, context);
  const name = `${context.name}-matrix`;
  const lab = { name, stateDir: siblingStateDir(context, name) };
  await mkdir(lab.stateDir, { recursive: true });
  return await withLock(join(lab.stateDir, 'matrix.lock'), 'another matrix', context, async () => {
    let ranHere = false;
    const run: RunCell = async ({ cell, how, what, onDirectory }, step) => {
      const { engine, ...rest } = how;
      const { kernel, flavour, fileSystem } = cell;
      const request = {
        ...rest,
        fileSystem,
        onDirectory,
        ...('resume' in what ? what : { selection: what }),
      };
      const kernelContext = withKernel(step, kernel, flavour);
      if (engine === 'swarm') return (await runXfstestsOnSwarm(kernelContext, request))[0];
      ranHere = true;
      return (await runXfstestsInLab({ ...kernelContext, ...lab }, { ...request, build: true }))[0];
    };
    try {
      const result = await runMatrix(directory, run, context);
      context.print(result, matrixText(result, directory));
      return exitCodeOf(result.verdict);
    } finally {
      if (context.signal.aborted)
        context.progress.note(`To go on: zufs-lab xfstests --resume ${basename(directory)}`);
      if (ranHere) await endLab(context, lab.name, lab.stateDir, { keepLogs: true });
    }
  });
}

/** All cells run the same tests, whatever times are recorded meanwhile. */
async function begin(
  { cells, request, engine }: Extract<MatrixWork, { readonly request: InLabRequest }>,
  context: LabContext,
): Promise<string> {
  const { shards = 1, testTimeout, soak, runExpunged } = request;
  const { selection } = await context.step('xfstests tree', (step) => withTestsNamed(step, request));
  const plan = {
    tests: [...(selection?.tests ?? [])],
    cells: [...cells],
    how: {
      engine,
      shards,
      ...(testTimeout === undefined ? {} : { testTimeout }),
      ...(soak === undefined ? {} : { soak }),
      ...(runExpunged === undefined ? {} : { runExpunged }),
    },
  };
  return await makeMatrix(context, plan, new Date());
}
