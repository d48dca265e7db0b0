// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';

const timesSchema = z.record(z.string(), z.record(z.string(), z.number().nonnegative()));

/** Seconds that each test took when it last passed, by file system: what an ETA is made of. */
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

  /** Seconds the tests will take together; tests never seen count as the mean of the others. Undefined: no idea. */
  estimate(fileSystem: string, tests: readonly string[]): number | undefined {
    const known = this.#times[fileSystem] ?? {};
    const seen = tests.map((test) => known[test]).filter((seconds) => seconds !== undefined);
    if (seen.length === 0) return undefined;
    const sum = seen.reduce((total, seconds) => total + seconds, 0);
    return sum + (sum / seen.length) * (tests.length - seen.length);
  }

  /** Seconds that a test took when it last passed. */
  of(fileSystem: string, test: string): number | undefined {
    return this.#times[fileSystem]?.[test];
  }

  record(fileSystem: string, test: string, seconds: number): void {
    this.#times[fileSystem] ??= {};
    this.#times[fileSystem][test] = Math.round(seconds * 10) / 10;
  }

  async save(): Promise<void> {
    await mkdir(dirname(this.#file), { recursive: true });
    const beside = `${this.#file}.${process.pid}`;
    await writeFile(beside, `${JSON.stringify(this.#times)}\n`);
    await rename(beside, this.#file);
  }
}
