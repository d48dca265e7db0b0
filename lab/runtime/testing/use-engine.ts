// SPDX-License-Identifier: BSD-3-Clause

import { afterAll, beforeAll, type TestContext } from 'vitest';
import { type NoTestEngine, startTestEngine, type TestEngine } from './engine.ts';

/** A container engine for all tests of a file: started before them, ended after them. */
export interface FileEngine {
  /** Undefined where none is to be had; only inside of tests and hooks. */
  readonly engine: TestEngine | undefined;
  /** The engine, or the test is skipped, with the reason. */
  orSkip(context: TestContext): TestEngine;
}

/** To be called first in a file: what else its hooks set up is taken down before the engine ends. */
export function useTestEngine(): FileEngine {
  let started: TestEngine | NoTestEngine = { skip: 'the engine was not started' };
  const engine = () => ('skip' in started ? undefined : started);
  beforeAll(async () => {
    started = await startTestEngine();
  });
  afterAll(async () => {
    await engine()?.[Symbol.asyncDispose]();
  });
  return {
    get engine() {
      return engine();
    },
    orSkip: (context) => {
      if ('skip' in started) return context.skip(started.skip);
      return started;
    },
  };
}
