// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import { type ReadyLab, runXfstestsInLab } from '../../../xfstests-runner/in-lab.ts';
import { NoTreeError, obtainTree, requireNamedTree } from '../../../xfstests-runner/source.ts';
import type { LabContext } from '../../context.ts';
import { checkMachine } from '../../doctor/checks.ts';
import { ExitCode, MissingPrerequisiteError } from '../../errors.ts';
import { ensureMounted, ensureVm, obtainArtefacts } from '../../lifecycle.ts';
import { withRunLock } from '../../run-lock.ts';
import { terminalSummary } from '../../test-run/report/summary.ts';
import { exitCodeOf } from '../../test-run/verdict.ts';
import { endLab } from '../../vm/running.ts';
import { runCommand } from '../run-command.ts';
import { smokeVerdict } from '../smoke-verdict.ts';

export function register(program: Command): void {
  program
    .command('run')
    .description('the whole way: check the machine, kernel, image, VM, server, mount, xfstests, verdict')
    .option('--down', 'end the lab afterwards; without it, it stays up to be looked at')
    .addHelpText(
      'after',
      `
Runs the tests of the settings, else the lab's own list of quick ones. Without an xfstests tree, and with upstream out of
reach, the lab's smoke run takes their place, and the verdict says so.

Exit code 0: all passed; 1: a test failed; 2: the lab is broken; 130: interrupted.`,
    )
    .action((options: { down?: true }, command: Command) =>
      runCommand(command, (context) =>
        withRunLock([context], () => wholeWayAndEnd(context, options.down === true)),
      ),
    );
}

async function wholeWayAndEnd(context: LabContext, down: boolean): Promise<number> {
  let exitCode: number | undefined;
  try {
    exitCode = await wholeWay(context);
    return exitCode;
  } finally {
    // A lab that failed, or that was interrupted, is of no use to anybody: only a verdict keeps it up.
    if (down || exitCode === undefined || exitCode === ExitCode.labFailed) {
      await endLab(context, context.name, context.stateDir, { keepLogs: true });
    } else {
      const lab = context.name === 'default' ? '' : ` --name ${context.name}`;
      context.progress.note(
        `The lab stays up: npx zufs-lab${lab} ssh, and npx zufs-lab${lab} down to end it.`,
      );
    }
  }
}

async function wholeWay(context: LabContext): Promise<number> {
  await requireNamedTree(context);
  await context.step('Machine', checkResources);
  const artefacts = await obtainArtefacts(context);
  const lab = await ensureVm(context, artefacts);
  await using _ = lab.vm;
  await ensureMounted(context, lab);

  const missing = await context.step('xfstests tree', whyNoTree);
  if (missing === undefined) return await xfstestsVerdict(context, lab);
  context.progress.note(`${missing} The lab's own smoke run takes its place.`);
  return await smokeVerdict(context, lab, 'No xfstests were run: there is no tree of them.');
}

/** What no package mends is said before the long work begins; tools are installed by the steps that need them. */
async function checkResources(context: LabContext): Promise<void> {
  for (const { name, status, detail, mend } of await checkMachine(context)) {
    if (status === 'missing' && (name === 'memory' || name === 'disk')) {
      throw new MissingPrerequisiteError(
        `Not enough ${name}: ${detail}.`,
        mend === undefined ? {} : { hint: `What mends it: ${mend}.` },
      );
    }
  }
}

/** Undefined when there is a tree to run; a tree that the user named but that is no good is an error. */
async function whyNoTree(context: LabContext): Promise<string | undefined> {
  try {
    await obtainTree(context);
    return undefined;
  } catch (error) {
    context.signal.throwIfAborted();
    if (error instanceof NoTreeError) return error.message;
    throw error;
  }
}

async function xfstestsVerdict(context: LabContext, lab: ReadyLab): Promise<number> {
  const [{ report, directory }] = await runXfstestsInLab(context, {}, lab);
  context.print({ ran: 'xfstests', ...report }, terminalSummary(report, directory));
  return exitCodeOf(report.verdict);
}
