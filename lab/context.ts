// SPDX-License-Identifier: BSD-3-Clause

import type { ArtefactCache } from './cache.ts';
import type { LabConfig } from './config/schema.ts';
import type { Runtime, TaskContext } from './runtime/runtime.ts';

/** All that a command works with, put together once by the command line (`lab/cli/context.ts`). */
export interface LabContext extends TaskContext {
  /** Name of the lab (`--name`, default `default`): several live side by side. */
  readonly name: string;
  readonly config: LabConfig;
  readonly runtime: Runtime;
  readonly cache: ArtefactCache;
  /** Root of this package: `kernel-config/`, `vm-images/`, `server/` lie below it. */
  readonly packageRoot: string;
  /** Directory of this lab's running state: console log, SSH key, pmem copies, logs. Made on demand. */
  readonly stateDir: string;
  readonly verbose: boolean;
  /** Run `body` as a named step of the progress display (elapsed, ETA from the last time it ran). */
  step<T>(title: string, body: (context: LabContext) => Promise<T>): Promise<T>;
}
