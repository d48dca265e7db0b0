// SPDX-License-Identifier: BSD-3-Clause

import type { LabContext } from '../context.ts';
import { ExitCode } from '../errors.ts';
import { runSmoke } from '../smoke/run.ts';
import { describeStep, smokeSummary } from '../smoke/summary.ts';
import type { GuestVm } from '../vm/guest.ts';
import type { VmState } from '../vm/state.ts';

/** The smoke run in a mounted lab, each step printed as it ends, then the summary and `remark`; gives the exit code. */
export async function smokeVerdict(
  context: LabContext,
  lab: { readonly vm: GuestVm; readonly state: VmState },
  remark?: string,
): Promise<number> {
  const report = await context.step('Smoke run', (step) =>
    runSmoke(step, lab.vm, lab.state, (ended) => {
      if (!context.json) context.print(ended, describeStep(ended));
    }),
  );
  context.print(
    { ran: 'smoke', ...report },
    [smokeSummary(report), remark].filter((text) => text !== undefined).join(' '),
  );
  return report.passed ? ExitCode.ok : ExitCode.testsFailed;
}
