// SPDX-License-Identifier: BSD-3-Clause

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { LabContext } from '../context.ts';
import { TaskListener } from './join.ts';
import type { TaskEngine, TaskOrder } from './task-engine.ts';
import { TaskVms } from './task-vms.ts';
import { makeTasksDirectory } from './tasks-directory.ts';

export interface TasksRequest extends Pick<TaskOrder, 'tasks' | 'artefacts' | 'deploy' | 'alone'> {
  /** Seconds for which the run waits when it has no task: for the first, and for others when the last one is lost. */
  readonly joinTimeout: number;
}

/** The tasks of a run. Disposing lets their VMs go, and ends what is left of them. */
export interface RunTasks extends AsyncDisposable {
  readonly vms: TaskVms;
}

/** Have `engine` start tasks for a run, which waits for them from now on. */
export async function startTasks(
  context: LabContext,
  engine: TaskEngine,
  { joinTimeout, ...order }: TasksRequest,
): Promise<RunTasks> {
  const directory = await makeTasksDirectory(context.stateDir);
  const socketFile = join(directory, 'run.sock');
  const token = randomBytes(32).toString('hex');
  await using opened = new AsyncDisposableStack();
  const vms = opened.use(new TaskVms(order.tasks, directory, context.progress.note));
  const listener = opened.use(
    await TaskListener.open({
      at: engine.reaches === 'loopback' ? 'loopback' : { socketFile },
      token,
      onJoined: (task) => {
        const { node, machine, bootSeconds } = task.hello;
        const how = machine.accelerator.toUpperCase();
        context.progress.note(`${node} joined (${how}, up in ${bootSeconds.toFixed(0)} s).`);
        vms.join(task);
      },
      onRefused: (reason) => context.progress.note(reason),
    }),
  );
  const at = engine.reaches === 'loopback' ? { port: listener.port } : { socketFile };
  const onNodeLost = (node: string): void => vms.loseNode(node);
  const started = opened.use(await engine.start(context, { ...order, at, token }, { onNodeLost }));
  void started.failed.then((reason) => vms.giveUp(reason));
  vms.limit(joinTimeout);
  const whole = opened.move();
  return { vms, [Symbol.asyncDispose]: () => whole.disposeAsync() };
}
