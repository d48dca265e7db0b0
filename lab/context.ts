// SPDX-License-Identifier: BSD-3-Clause

import type { ArtefactCache } from './cache.ts';
import type { LabConfig } from './config/schema.ts';
import type { Runtime, TaskContext } from './runtime/runtime.ts';

/** What a command works with that needs the settings, but neither a runtime nor the cache. */
export interface SettingsContext extends TaskContext {
  /** Name of the lab (`--name`, default `default`): several live side by side. */
  readonly name: string;
  readonly config: LabConfig;
  /** Root of this package: `kernel-config/`, `vm-images/`, `server/` lie below it. */
  readonly packageRoot: string;
  /** Directory of this lab's running state: console log, SSH key, pmem copies, logs. Made on demand. */
  readonly stateDir: string;
  /** Root of the artefact cache. */
  readonly cacheRoot: string;
  readonly verbose: boolean;
  /** `--json`: stdout carries one JSON document and nothing else. */
  readonly json: boolean;
  /** The command's result on stdout: `data` as JSON with `--json`, else `text`. Progress and notes go to stderr. */
  print(data: unknown, text: string): void;
}

/** All that a command works with, put together once by the command line (`lab/cli/run-command.ts`). */
export interface LabContext extends SettingsContext {
  readonly runtime: Runtime;
  readonly cache: ArtefactCache;
  /**
   * Run `body` as a named step of the progress display (elapsed, ETA from the last time it ran). The context that `body`
   * gets reports to that step; steps nest.
   */
  step<T>(title: string, body: (context: LabContext) => Promise<T>): Promise<T>;
}
