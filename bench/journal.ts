// SPDX-License-Identifier: BSD-3-Clause

/** A run on disk as it goes: what it set out to do, and what it has measured. */

import { appendFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LabError } from '../lab/errors.ts';
import type { Declared } from './declared.ts';
import { cellKey } from './plan.ts';
import { runSchema } from './report/results.ts';
import { type Failure, failureSchema, type Sample, sampleSchema } from './samples.ts';
import { fileSystemSchema, matrixSchema, workloadSchema } from './schema.ts';

/** All that `--resume` needs: also the descriptions, as they were. */
const planSchema = z.object({
  run: runSchema,
  matrix: matrixSchema,
  fileSystems: z.array(fileSystemSchema),
  workloads: z.array(workloadSchema),
});

export type RunPlan = z.infer<typeof planSchema>;

const planFile = 'plan.json';
const journalFile = 'journal.jsonl';

/** Every run of this checkout has a directory below this one. */
export function benchRoot(packageRoot: string): string {
  return join(packageRoot, 'build', 'bench');
}

/** Name of a matrix, without the place that it was read from. */
export function nameOf({ name }: Declared): string {
  return name.replace(/^.*\//, '').replace(/\.ya?ml$/, '');
}

/** A new directory below `root`, named by time and matrix. */
export async function makeRunDirectory(
  root: string,
  matrix: string,
  now: Date,
): Promise<{ readonly id: string; readonly directory: string }> {
  await mkdir(root, { recursive: true });
  const time = now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  for (let count = 1; ; count += 1) {
    const id = `${time}-${matrix}${count === 1 ? '' : `-${count}`}`;
    const directory = join(root, id);
    try {
      await mkdir(directory);
      return { id, directory };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

export async function writePlan(directory: string, plan: RunPlan): Promise<void> {
  await writeFile(join(directory, planFile), `${JSON.stringify(plan, undefined, 2)}\n`);
}

export function declaredOf({ run, matrix, fileSystems, workloads }: RunPlan): Declared {
  return {
    name: run.matrix,
    matrix,
    fileSystems: new Map(fileSystems.map((one) => [one.name, one])),
    workloads: new Map(workloads.map((one) => [one.name, one])),
  };
}

export class Journal {
  readonly #file: string;

  constructor(directory: string) {
    this.#file = join(directory, journalFile);
  }

  write(entry: Sample | Failure): void {
    appendFileSync(this.#file, `${JSON.stringify(entry)}\n`);
  }
}

const entrySchema = z.union([sampleSchema, failureSchema]);

/** The plan of a run and what it has measured; what failed is not among it, since it is to be tried again. */
export async function readRun(
  directory: string,
): Promise<{ readonly plan: RunPlan; readonly samples: readonly Sample[] }> {
  let plan: RunPlan;
  try {
    plan = planSchema.parse(JSON.parse(await readFile(join(directory, planFile), 'utf8')));
  } catch (error) {
    throw new LabError(`${directory} holds no benchmark run that could be resumed.`, { cause: error });
  }
  const text = await readFile(join(directory, journalFile), 'utf8').catch(() => '');
  const samples = new Map<string, Sample>();
  for (const line of text.split('\n')) {
    const entry = parseLine(line);
    if (entry !== undefined && 'opsPerSec' in entry) samples.set(`${cellKey(entry)} ${entry.round}`, entry);
  }
  return { plan, samples: [...samples.values()] };
}

/** The last line of a run that was killed may be half a one. */
function parseLine(line: string): Sample | Failure | undefined {
  try {
    return entrySchema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
