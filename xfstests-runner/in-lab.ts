// SPDX-License-Identifier: BSD-3-Clause

import type { LabContext } from '../lab/context.ts';
import { ensureMounted, ensureVm, obtainArtefacts } from '../lab/lifecycle.ts';
import type { GuestVm } from '../lab/vm/guest.ts';
import { endLab, findLab } from '../lab/vm/running.ts';
import type { VmState } from '../lab/vm/state.ts';
import { fileSystemProfile } from './filesystems.ts';
import { runXfstests, type XfstestsRequest, type XfstestsResult } from './xfstests.ts';

/** What the user may say; what is left out comes from the settings. */
export type InLabRequest = Pick<XfstestsRequest, 'fileSystem' | 'selection' | 'testTimeout'>;

/** A lab with a VM; before tests run, with zus and the mounts too where the file system under test needs them. */
export interface ReadyLab {
  readonly vm: GuestVm;
  readonly state: VmState;
}

/**
 * Run xfstests in the context's lab: the one given (its file systems mounted, its VM the caller's to close), else the one that
 * runs, else a new one. A VM that is lost on the way is started anew for the rest of the tests. The lab stays up afterwards.
 */
export async function runXfstestsInLab(
  context: LabContext,
  request: InLabRequest,
  given?: ReadyLab,
): Promise<XfstestsResult> {
  const profile = fileSystemProfile(request.fileSystem ?? context.config.mount.filesystem);
  const opened: GuestVm[] = [];
  const ready = async (): Promise<ReadyLab> => {
    const lab = (await runningLab(context)) ?? (await newLab(context));
    opened.push(lab.vm);
    if (profile.needsServer) await ensureMounted(context, { ...lab, booted: false });
    return lab;
  };
  try {
    const lab = given ?? (await ready());
    return await context.step(`xfstests on ${profile.name}`, (step) =>
      runXfstests(step, {
        ...request,
        vm: lab.vm,
        devices: { test: lab.state.testDevices, scratch: lab.state.scratchDevices },
        revive: async () => {
          await endLab(context, context.name, context.stateDir, { keepLogs: true });
          return (await ready()).vm;
        },
      }),
    );
  } finally {
    for (const vm of opened) await vm[Symbol.asyncDispose]();
  }
}

/** Undefined when there is none, or one that died. */
async function runningLab(context: LabContext): Promise<ReadyLab | undefined> {
  const lab = await findLab(context);
  if (lab === undefined) return undefined;
  if ((await lab.vm.health()).state === 'running') return lab;
  await lab.vm[Symbol.asyncDispose]();
  return undefined;
}

async function newLab(context: LabContext): Promise<ReadyLab> {
  return await ensureVm(context, await obtainArtefacts(context));
}
