// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { LabError } from '../lab/errors.ts';

const workloadSchema = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9-]+$/),
    about: z.string().min(1),
    checks: z.string().min(1),
    program: z.string().regex(/^[\w-]+\.(sh|js)$/),
    needs: z.array(z.enum(['packages', 'kernel-repository', 'fsx'])).default([]),
    crash: z.boolean().default(false),
    seconds: z.int().min(1).optional(),
    short: z.int().min(1).optional(),
    limit: z.int().min(1),
  })
  .refine(({ crash, seconds }) => !crash || seconds !== undefined, 'a crash needs the seconds before it');

/** One kind of real use of a file system; `workloads.yaml` says what the fields mean. */
export type Workload = z.infer<typeof workloadSchema>;

/** Directory of the declarations and their programs. */
export function workloadsDirectory(packageRoot: string): string {
  return join(packageRoot, 'workloads');
}

export async function readWorkloads(packageRoot: string): Promise<readonly Workload[]> {
  const text = await readFile(join(workloadsDirectory(packageRoot), 'workloads.yaml'), 'utf8');
  return z.strictObject({ workloads: z.array(workloadSchema) }).parse(parse(text)).workloads;
}

/** Those of `only`, in the order of the file; all of them for an empty list. A name that is none is an error. */
export function selectWorkloads(all: readonly Workload[], only: readonly string[]): readonly Workload[] {
  for (const name of only) {
    if (all.some((workload) => workload.name === name)) continue;
    throw new LabError(`There is no workload '${name}'.`, {
      hint: `Take some of ${all.map((workload) => workload.name).join(', ')}.`,
    });
  }
  return only.length === 0 ? all : all.filter(({ name }) => only.includes(name));
}

/** What the user says about how long. */
export interface Length {
  /** The short form: what CI can afford. */
  readonly short: boolean;
  /** Seconds in place of those of the workload; undefined: its own. */
  readonly time?: number;
}

/** Seconds that a workload runs, where that can be said; 0 where it runs to its end. */
export function secondsOf(workload: Workload, { short, time }: Length): number {
  if (workload.seconds === undefined) return 0;
  return time ?? (short ? (workload.short ?? workload.seconds) : workload.seconds);
}

/** Seconds after which it hangs: those of the workload, and what the user asks for beyond its own. */
export function limitOf(workload: Workload, length: Length): number {
  return workload.limit + Math.max(0, secondsOf(workload, length) - (workload.seconds ?? 0));
}
