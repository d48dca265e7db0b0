// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { LabError } from '../lab/errors.ts';
import type { TestOutcome } from '../lab/test-run/verdict.ts';

/** One test that is not run, and why. */
const expungeSchema = z.strictObject({
  test: z.string().regex(/^[\w-]+\/\d{3}$/, 'a test such as generic/001'),
  /** What a maintainer would want to know: never empty. */
  reason: z.string().trim().min(10, 'a reason, in words'),
  /** Where it applies; what is left out applies everywhere. */
  when: z
    .strictObject({
      fs: z.string().optional(),
      flavour: z.enum(['release', 'debug']).optional(),
      accelerator: z.enum(['kvm', 'tcg']).optional(),
      /** Start of the kernel's version: `6.12`. */
      kernel: z.string().optional(),
    })
    .optional(),
  link: z.url().optional(),
});

const fileSchema = z.strictObject({ expunges: z.array(expungeSchema) });

export type Expunge = z.infer<typeof expungeSchema>;

/** What a run is on, as far as expunges ask for it. */
export interface ExpungeConditions {
  readonly fs: string;
  readonly flavour: string;
  readonly accelerator: string;
  readonly kernel: string;
}

/** The lab's own: tests that no file system passes on the kernels of the lab. */
export function ownExpunges(packageRoot: string): string {
  return join(packageRoot, 'xfstests-runner', 'lists', 'expunges.yaml');
}

/** The expunges of YAML files. One without a reason, or one that nobody could read, is refused with file and line. */
export async function readExpunges(files: readonly string[]): Promise<readonly Expunge[]> {
  const all: Expunge[] = [];
  for (const file of files) {
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (error) {
      throw new LabError(`The expunges ${file} cannot be read: ${(error as Error).message}.`, {
        cause: error,
      });
    }
    const lines = new LineCounter();
    const document = parseDocument(text, { lineCounter: lines });
    const [broken] = document.errors;
    if (broken !== undefined) {
      throw new LabError(`${file}:${broken.linePos?.[0].line ?? 1}: ${broken.message.split('\n')[0]}`);
    }
    const parsed = fileSchema.safeParse(document.toJS());
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      const path = issue.path.filter((key) => typeof key !== 'symbol');
      const node = document.getIn(path, true) ?? document.getIn(path.slice(0, -1), true);
      const offset = (node as { range?: [number, number, number] } | undefined)?.range?.[0] ?? 0;
      throw new LabError(`${file}:${lines.linePos(offset).line}: ${path.join('.')}: ${issue.message}.`, {
        hint: 'An expunge is a test, a reason, and perhaps when (fs, flavour, accelerator, kernel) and a link.',
      });
    }
    all.push(...parsed.data.expunges);
  }
  return all;
}

/** Those that apply to a run, by test. */
export function applicable(
  expunges: readonly Expunge[],
  on: ExpungeConditions,
): ReadonlyMap<string, Expunge> {
  const applies = ({ when = {} }: Expunge) =>
    (when.fs ?? on.fs) === on.fs &&
    (when.flavour ?? on.flavour) === on.flavour &&
    (when.accelerator ?? on.accelerator) === on.accelerator &&
    on.kernel.startsWith(when.kernel ?? '');
  return new Map(expunges.filter(applies).map((expunge) => [expunge.test, expunge]));
}

/** The outcome of a test that an expunge keeps from running. */
export function expungedOutcome({ test, reason, link }: Expunge): TestOutcome {
  return {
    name: test,
    status: 'notrun',
    seconds: 0,
    reason: `expunged: ${reason}${link === undefined ? '' : ` (${link})`}`,
  };
}
