// SPDX-License-Identifier: BSD-3-Clause

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ArtefactDirectory } from '../cache-directory.ts';
import { type LabConfig, labConfigSchema } from '../config/schema.ts';
import type { LabContext } from '../context.ts';
import { packageRoot } from '../paths.ts';
import type { RunOptions, RunResult, Runtime } from '../runtime/runtime.ts';

export interface FakeContext extends LabContext {
  /** Lines worth keeping that were reported. */
  readonly notes: readonly string[];
  /** How far it was said to be. */
  readonly fractions: readonly number[];
  /** Milliseconds. */
  readonly expectations: readonly number[];
  readonly abort: AbortController;
}

/** The shipped settings, with `change` made to them. */
export function settings(change: (config: LabConfig) => void = () => undefined): LabConfig {
  const config = labConfigSchema.parse(parse(readFileSync(join(packageRoot, 'lab.yaml'), 'utf8')));
  change(config);
  return config;
}

/** A context over a directory of the test's own; programs of the runtime are played by `run`. */
export function fakeContext(
  root: string,
  config: LabConfig = settings(),
  run: (command: readonly string[], options: RunOptions) => Promise<RunResult> = noProgram,
): FakeContext {
  const abort = new AbortController();
  const notes: string[] = [];
  const fractions: number[] = [];
  const expectations: number[] = [];
  const runtime: Runtime = {
    kind: 'host',
    prepare: async () => undefined,
    run,
    start: noProgram,
    find: async () => [],
    [Symbol.asyncDispose]: async () => undefined,
  };
  const cacheRoot = join(root, 'cache');
  const context: FakeContext = {
    name: 'test',
    config,
    packageRoot,
    stateDir: join(root, 'state'),
    cacheRoot,
    verbose: false,
    json: false,
    signal: abort.signal,
    abort,
    notes,
    fractions,
    expectations,
    progress: {
      update: () => undefined,
      expect: (milliseconds) => expectations.push(milliseconds),
      fraction: (done) => fractions.push(done),
      note: (line) => notes.push(line),
      output: () => undefined,
    },
    print: () => undefined,
    runtime,
    cache: new ArtefactDirectory(cacheRoot),
    // As the command line's: a context copied with other settings hands those down.
    async step(this: LabContext, _title, body) {
      return await body(this);
    },
  };
  return context;
}

async function noProgram(command: readonly string[]): Promise<never> {
  throw new Error(`no test expected ${command.join(' ')} to run`);
}
