// SPDX-License-Identifier: BSD-3-Clause

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TaskContext } from '../runtime/runtime.ts';
import { exists } from './changes.ts';

/** Steps of a build from nothing, until one has been counted. */
const usualSteps = 2500;

/** A line of kbuild's short output: `  CC      mm/memory.o` */
const stepLine = /^ {2}[A-Z]+(?: \[[A-Z]\])? +\S/;

/** How far a kernel build is, from its output: steps done, against those of the last build from nothing. */
export class ObjectCount {
  readonly #file: string;
  /** Undefined in a build on top of another: make does not say beforehand how much it will find to do. */
  readonly #expected: number | undefined;
  #done = 0;

  private constructor(file: string, expected: number | undefined) {
    this.#file = file;
    this.#expected = expected;
  }

  static async begin(file: string, objects: string): Promise<ObjectCount> {
    if (await exists(join(objects, 'vmlinux'))) return new ObjectCount(file, undefined);
    const known = Number(await readFile(file, 'utf8').catch(() => ''));
    return new ObjectCount(file, known > 0 ? known : usualSteps);
  }

  /** A context that counts what passes through it. */
  watch(context: TaskContext): TaskContext {
    return {
      signal: context.signal,
      progress: {
        ...context.progress,
        output: (line) => {
          context.progress.output(line);
          if (!stepLine.test(line)) return;
          this.#done += 1;
          if (this.#expected !== undefined) context.progress.fraction(this.#done / this.#expected);
          else context.progress.update(`compiling, ${this.#done} steps`);
        },
      },
    };
  }

  /** The build is through: remember its length. */
  async finished(): Promise<void> {
    if (this.#expected !== undefined) await writeFile(this.#file, `${this.#done}\n`);
  }
}
