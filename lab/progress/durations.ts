// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A step that took less did no work whose length is worth remembering: its artefact was in the cache. */
const worthRememberingMs = 2000;

/** How long each step took the last time that it had work to do, kept in a file beside the cache. */
export class Durations {
  readonly #file: string;
  readonly #known: Map<string, number>;

  private constructor(file: string, known: Map<string, number>) {
    this.#file = file;
    this.#known = known;
  }

  /** A file that is missing or damaged means only that nothing is known. */
  static async load(file: string): Promise<Durations> {
    try {
      const parsed: unknown = JSON.parse(await readFile(file, 'utf8'));
      const entries = Object.entries(parsed as Record<string, unknown>);
      return new Durations(
        file,
        new Map(entries.filter((entry): entry is [string, number] => typeof entry[1] === 'number')),
      );
    } catch {
      return new Durations(file, new Map());
    }
  }

  /** Milliseconds, undefined when the step has never run. */
  expected(step: string): number | undefined {
    return this.#known.get(step);
  }

  async record(step: string, milliseconds: number): Promise<void> {
    if (milliseconds < worthRememberingMs) return;
    this.#known.set(step, Math.round(milliseconds));
    const temporary = `${this.#file}.${process.pid}`;
    try {
      await mkdir(dirname(this.#file), { recursive: true });
      await writeFile(temporary, `${JSON.stringify(Object.fromEntries(this.#known), undefined, 2)}\n`);
      await rename(temporary, this.#file);
    } catch {
      // An estimate that could not be kept (disk full, read-only) must not fail the work it was about.
    }
  }
}
