// SPDX-License-Identifier: BSD-3-Clause

import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { obtainArtefacts } from '../lab/lifecycle.ts';
import { TaskListener } from '../lab/remote/join.ts';
import { abortable } from '../lab/vm/abortable.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import { RemoteShards } from './remote-shards.ts';
import { runXfstests, withTestsNamed, type XfstestsRequest, type XfstestsResult } from './xfstests.ts';

/** What a task has to know to join a run (`task.ts`). */
export interface TaskOrder {
  readonly tasks: number;
  /** Where the run listens. */
  readonly at: { readonly port: number } | { readonly socketFile: string };
  readonly token: string;
  readonly artefacts: BootArtefacts;
  readonly fileSystem: string;
}

/** Tasks that were asked for. Disposing ends what is left of them. */
export interface StartedTasks extends AsyncDisposable {
  /** Resolves with the reason once it is known that no more will come. */
  readonly failed: Promise<Error>;
}

/** Where the tasks of a run come from. */
export interface TaskEngine {
  /** What its tasks can reach: a port of loopback, or a socket file of this machine. */
  readonly reaches: 'loopback' | 'socket';
  start(context: LabContext, order: TaskOrder): Promise<StartedTasks>;
}

export interface ElsewhereRequest extends Omit<XfstestsRequest, 'vms'> {
  /** Tasks, each with a VM. */
  readonly shards: number;
  /** Seconds for which the run waits when it has no task: for the first, and for others when the last one is lost. */
  readonly joinTimeout: number;
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
  const fileSystem = named.fileSystem ?? context.config.mount.filesystem;
  const artefacts = await obtainArtefacts(context);
  const consoles = join(context.stateDir, 'tasks');
  await mkdir(consoles, { recursive: true });
  const socketFile = join(consoles, 'run.sock');
  await rm(socketFile, { force: true });
  const token = randomBytes(32).toString('hex');
  await using shards = new RemoteShards(tasks, consoles, context.progress.note);
  await using listener = await TaskListener.open({
    at: engine.reaches === 'loopback' ? 'loopback' : { socketFile },
    token,
    onJoined: (task) => {
      const { node, machine, bootSeconds } = task.hello;
      const how = machine.accelerator.toUpperCase();
      context.progress.note(`${node} joined (${how}, up in ${bootSeconds.toFixed(0)} s).`);
      shards.join(task);
    },
    onRefused: (reason) => context.progress.note(reason),
  });
  await using started = await engine.start(context, {
    tasks,
    at: engine.reaches === 'loopback' ? { port: listener.port } : { socketFile },
    token,
    artefacts,
    fileSystem,
  });
  void started.failed.then((reason) => shards.giveUp(reason));
  shards.limit(joinTimeout);
  const [one, ...others] = shards.vms;
  const first = await context.step('Tasks', (step) => abortable(one, step.signal));
  return await context.step(`xfstests on ${fileSystem}`, (step) =>
    runXfstests(step, { ...named, vms: [first, ...others] }),
  );
}
