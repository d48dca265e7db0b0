// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';

const timesSchema = z.record(z.string(), z.record(z.string(), z.number().nonnegative()));

/** What tests that do not apply took is kept apart: it says nothing about how long they may take once they do. */
function notrunOf(fileSystem: string): string {
  return `${fileSystem} notrun`;
}

/** Seconds that each test took the last time, by file system: what an ETA is made of. */
export class RecordedTimes {
  readonly #file: string;
  readonly #times: Record<string, Record<string, number>>;

  private constructor(file: string, times: Record<string, Record<string, number>>) {
    this.#file = file;
    this.#times = times;
  }

  /** A file that is missing or damaged is a run without estimates, not an error. */
  static async load(file: string): Promise<RecordedTimes> {
    try {
      return new RecordedTimes(file, timesSchema.parse(JSON.parse(await readFile(file, 'utf8'))));
    } catch {
      return new RecordedTimes(file, {});
    }
  }

  /**
   * Seconds that each of the tests is expected to take: as when it last passed, or last said that it does not apply; one never
   * seen, the mean of the others, and 1 when none was.
   */
  expected(fileSystem: string, tests: readonly string[]): (test: string) => number {
    const seen = (test: string): number | undefined =>
      this.#times[fileSystem]?.[test] ?? this.#times[notrunOf(fileSystem)]?.[test];
    const known = tests.map(seen).filter((seconds) => seconds !== undefined);
    const mean = known.length === 0 ? 1 : known.reduce((sum, seconds) => sum + seconds, 0) / known.length;
    return (test) => seen(test) ?? mean;
  }

  /** Seconds that a test took when it last passed. */
  of(fileSystem: string, test: string): number | undefined {
    return this.#times[fileSystem]?.[test];
  }

  record(fileSystem: string, test: string, status: 'passed' | 'notrun', seconds: number): void {
    const key = status === 'passed' ? fileSystem : notrunOf(fileSystem);
    this.#times[key] ??= {};
    this.#times[key][test] = Math.round(seconds * 10) / 10;
  }

  async save(): Promise<void> {
    await mkdir(dirname(this.#file), { recursive: true });
    const beside = `${this.#file}.${process.pid}`;
    await writeFile(beside, `${JSON.stringify(this.#times)}\n`);
    await rename(beside, this.#file);
  }
}
