// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';

const timesSchema = z.record(z.string(), z.record(z.string(), z.number().nonnegative()));

export const typicalTimesSchema = z.strictObject({
  /** Any test that is not among `tests`. */
  others: z.number().positive(),
  tests: z.record(z.string(), z.number().positive()),
});

/** Seconds that tests took somewhere else: how they compare, where nothing is recorded. */
export type TypicalTimes = z.infer<typeof typicalTimesSchema>;

/** Under what the times of a file system are kept: those on a kernel for debugging are of another kind. */
export function seriesOf(fileSystem: string, flavour: string): string {
  return flavour === 'release' ? fileSystem : `${fileSystem} ${flavour}`;
}

/** What tests that do not apply took is kept apart: it says nothing about how long they may take once they do. */
function notrunOf(series: string): string {
  return `${series} notrun`;
}

/** Seconds that each test took the last time, by series (`seriesOf`): what an ETA is made of. */
export class RecordedTimes {
  readonly #file: string;
  readonly #times: Record<string, Record<string, number>>;
  readonly #typical: TypicalTimes;

  private constructor(file: string, typical: TypicalTimes, times: Record<string, Record<string, number>>) {
    this.#file = file;
    this.#typical = typical;
    this.#times = times;
  }

  /** A file that is missing or damaged is a run that has nothing but what is typical, not an error. */
  static async load(file: string, typical: TypicalTimes): Promise<RecordedTimes> {
    try {
      return new RecordedTimes(file, typical, timesSchema.parse(JSON.parse(await readFile(file, 'utf8'))));
    } catch {
      return new RecordedTimes(file, typical, {});
    }
  }

  /**
   * Seconds that each of the tests is expected to take: as when it last passed, or last said that it does not apply; one never
   * seen, what is typical of it, by as much more or less as those that were seen took.
   */
  expected(series: string, tests: readonly string[]): (test: string) => number {
    const seen = (test: string): number | undefined =>
      this.#times[series]?.[test] ?? this.#times[notrunOf(series)]?.[test];
    const typical = (test: string): number => this.#typical.tests[test] ?? this.#typical.others;
    let [taken, usual] = [0, 0];
    for (const test of tests) {
      const seconds = seen(test);
      if (seconds === undefined) continue;
      taken += seconds;
      usual += typical(test);
    }
    const pace = taken === 0 ? 1 : taken / usual;
    return (test) => seen(test) ?? typical(test) * pace;
  }

  /** Seconds that a test took when it last passed. */
  of(series: string, test: string): number | undefined {
    return this.#times[series]?.[test];
  }

  record(series: string, test: string, status: 'passed' | 'notrun', seconds: number): void {
    const key = status === 'passed' ? series : notrunOf(series);
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
