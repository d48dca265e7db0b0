// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type { Command } from 'commander';
import { runXfstestsInLab } from '../../../xfstests-runner/in-lab.ts';
import { terminalSummary } from '../../../xfstests-runner/report/summary.ts';
import { obtainTree } from '../../../xfstests-runner/source.ts';
import { inspectTree } from '../../../xfstests-runner/tree.ts';
import { exitCodeOf } from '../../../xfstests-runner/verdict.ts';
import type { LabContext } from '../../context.ts';
import { checkMachine } from '../../doctor/checks.ts';
import { ExitCode, LabError, MissingPrerequisiteError } from '../../errors.ts';
import { ensureMounted, ensureVm, obtainArtefacts } from '../../lifecycle.ts';
import { runSmoke } from '../../smoke/run.ts';
import { describeStep, smokeSummary } from '../../smoke/summary.ts';
import { endLab, requireLab } from '../../vm/running.ts';
import { runCommand } from '../run-command.ts';

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
      runCommand(command, async (context) => {
        let exitCode: number | undefined;
        try {
          exitCode = await wholeWay(context);
          return exitCode;
        } finally {
          // A lab that failed, or that was interrupted, is of no use to anybody: only a verdict keeps it up.
          if (options.down || exitCode === undefined || exitCode === ExitCode.labFailed) {
            await endLab(context, context.name, context.stateDir, { keepLogs: true });
          } else {
            const lab = context.name === 'default' ? '' : ` --name ${context.name}`;
            context.progress.note(
              `The lab stays up: npx zufs-lab${lab} ssh, and npx zufs-lab${lab} down to end it.`,
            );
          }
        }
      }),
    );
}

async function wholeWay(context: LabContext): Promise<number> {
  await context.step('Machine', checkResources);
  const artefacts = await obtainArtefacts(context);
  const lab = await ensureVm(context, artefacts);
  await using _ = lab.vm;
  await ensureMounted(context, lab);

  const missing = await context.step('xfstests tree', whyNoTree);
  return missing === undefined ? await xfstestsVerdict(context) : await smokeVerdict(context, missing);
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

/**
 * Undefined when there is a tree to run. A tree that the user named but that is no good is an error; only where nobody
 * named one, none lies in the cache and upstream cannot be reached, there is a reason to go on without.
 */
async function whyNoTree(context: LabContext): Promise<string | undefined> {
  const { dir, ref } = context.config.xfstests;
  const nobodysTree =
    dir === '' && (await inspectTree(join(context.cache.root, 'xfstests', ref))).kind === 'missing';
  try {
    await obtainTree(context);
    return undefined;
  } catch (error) {
    context.signal.throwIfAborted();
    if (!nobodysTree || !(error instanceof LabError)) throw error;
    return error.message;
  }
}

async function xfstestsVerdict(context: LabContext): Promise<number> {
  const { report, directory } = await runXfstestsInLab(context, {});
  context.print({ ran: 'xfstests', ...report }, terminalSummary(report, directory));
  return exitCodeOf(report.verdict);
}

async function smokeVerdict(context: LabContext, missing: string): Promise<number> {
  context.progress.note(`${missing} The lab's own smoke run takes its place.`);
  const lab = await requireLab(context);
  await using vm = lab.vm;
  const report = await context.step('Smoke run', (step) =>
    runSmoke(step, vm, lab.state, (ended) => {
      if (!context.json) context.print(ended, describeStep(ended));
    }),
  );
  context.print(
    { ran: 'smoke', ...report },
    `${smokeSummary(report)} No xfstests were run: there is no tree of them.`,
  );
  return report.passed ? ExitCode.ok : ExitCode.testsFailed;
}
