// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import { ArtefactDirectory } from '../cache-directory.ts';
import { loadConfig } from '../config/load.ts';
import type { LabContext } from '../context.ts';
import { packageRoot as thisPackage } from '../paths.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { quietContext, type RecordingContext } from '../runtime/testing/context.ts';

/** A context as the command line makes it, with everything in reach of the test. */
export interface TestLabContext extends LabContext {
  readonly recorded: RecordingContext;
}

/** Settings are lab.yaml's with `set` on top; the machine's own variables and lab.local.yaml do not count. */
export async function testLabContext(options: {
  readonly runtime: Runtime;
  readonly cacheRoot: string;
  readonly stateDir: string;
  readonly packageRoot?: string;
  readonly set?: readonly string[];
  readonly signal?: AbortSignal;
}): Promise<TestLabContext> {
  const recorded = quietContext(options.signal);
  const config = await loadConfig({
    packageRoot: thisPackage,
    userFile: join(thisPackage, 'lab.yaml'),
    environment: {},
    set: options.set ?? [],
  });
  return {
    ...recorded,
    recorded,
    name: 'test',
    config,
    packageRoot: options.packageRoot ?? thisPackage,
    stateDir: options.stateDir,
    cacheRoot: options.cacheRoot,
    verbose: false,
    json: false,
    print: () => undefined,
    runtime: options.runtime,
    cache: new ArtefactDirectory(options.cacheRoot),
    async step(this: LabContext, _title, body) {
      return await body(this);
    },
  };
}
