// SPDX-License-Identifier: BSD-3-Clause

import type { LabContext } from '../lab/context.ts';
import { LabError } from '../lab/errors.ts';
import { obtainArtefacts } from '../lab/lifecycle.ts';
import { startTasks } from '../lab/remote/start-tasks.ts';
import type { TaskEngine } from '../lab/remote/task-engine.ts';
import { openSwarm } from '../lab/swarm/open.ts';
import { fileSystemProfile } from './filesystems.ts';
import type { InLabRequest } from './in-lab.ts';
import {
  obtainSuite,
  runXfstests,
  withTestsNamed,
  type XfstestsRequest,
  type XfstestsResult,
} from './xfstests.ts';

export interface ElsewhereRequest extends Omit<XfstestsRequest, 'vms'> {
  /** Tasks, each with a VM. */
  readonly shards: number;
  /** Seconds for which the run waits when it has no task: for the first, and for others when the last one is lost. */
  readonly joinTimeout: number;
}

/** Run xfstests in tasks of the swarm of which the engine of this machine is a manager: one for each shard. */
export async function runXfstestsOnSwarm(
  context: LabContext,
  request: InLabRequest,
): Promise<[XfstestsResult]> {
  const { shards = 1, repeat = 1, build = false, ...rest } = request;
  if (repeat > 1 || build) {
    throw new LabError('--engine swarm takes neither --repeat nor --build: every run has VMs of its own.');
  }
  const swarm = await openSwarm(context);
  const { joinTimeout } = context.config.swarm;
  return [await runXfstestsElsewhere(context, { ...rest, shards, joinTimeout }, swarm)];
}

/**
 * Run xfstests in VMs of tasks that `engine` starts: the runner is the same as for VMs of this machine. Rejects with a `LabError`
 * when no task comes.
 */
export async function runXfstestsElsewhere(
  context: LabContext,
  request: ElsewhereRequest,
  engine: TaskEngine,
): Promise<XfstestsResult> {
  const { shards: tasks, joinTimeout, ...rest } = request;
  const named = await context.step('xfstests tree', (step) => withTestsNamed(step, rest));
  const { config, packageRoot } = context;
  const profile = fileSystemProfile(
    named.fileSystem ?? config.mount.filesystem,
    packageRoot,
    config.xfstests.filesystems,
  );
  const artefacts = await obtainArtefacts(context);
  const deploy = profile.needsServer ? 'server' : 'nothing';
  await using run = await startTasks(context, engine, { tasks, artefacts, deploy, joinTimeout });
  const [, ...others] = run.vms.all;
  // Their machines are busy with VMs for a while.
  const [first, suite] = await Promise.all([run.vms.first(context), obtainSuite(context)]);
  return await context.step(`xfstests on ${profile.name}`, (step) =>
    runXfstests(step, { ...named, suite, vms: [first, ...others] }),
  );
}
