// SPDX-License-Identifier: BSD-3-Clause

import type { TaskContext } from '../runtime.ts';

/** A context that keeps what is reported, for tests to look at. */
export interface RecordingContext extends TaskContext {
  readonly notes: string[];
  readonly updates: string[];
  readonly lines: string[];
}

export function quietContext(signal: AbortSignal = new AbortController().signal): RecordingContext {
  const notes: string[] = [];
  const updates: string[] = [];
  const lines: string[] = [];
  return {
    signal,
    notes,
    updates,
    lines,
    progress: {
      update: (text) => void updates.push(text),
      expect: () => undefined,
      fraction: () => undefined,
      note: (line) => void notes.push(line),
      output: (line) => void lines.push(line),
    },
  };
}
