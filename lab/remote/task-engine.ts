// SPDX-License-Identifier: BSD-3-Clause

import type { LabContext } from '../context.ts';
import type { BootArtefacts } from '../vm/boot.ts';

/**
 * What a task's VM has when its run gets it: nothing, for a run that brings what it needs; the server, for one that makes its file
 * systems itself; or the settings' file systems, mounted, with the server if they need it.
 */
export const deployments = ['nothing', 'server', 'mounts'] as const;
export type Deployment = (typeof deployments)[number];

/** What a task has to know to join a run (`task.ts`). */
export interface TaskOrder {
  readonly tasks: number;
  /** Where the run listens. */
  readonly at: { readonly port: number } | { readonly socketFile: string };
  readonly token: string;
  readonly artefacts: BootArtefacts;
  readonly deploy: Deployment;
  /** A machine has one of them at a time: it is measured what they do. */
  readonly alone?: boolean;
}

/** What an engine tells of tasks that it has started. */
export interface TaskEvents {
  /** A machine is gone, and the tasks on it. Their silence would tell it, too, but later. */
  onNodeLost?(node: string): void;
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
  /** The context's settings are those of the tasks' own labs. */
  start(context: LabContext, order: TaskOrder, events?: TaskEvents): Promise<StartedTasks>;
}
