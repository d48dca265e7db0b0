// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { ConfigError } from '../lab/errors.ts';
import {
  type BenchFileSystem,
  fileSystemSchema,
  type Matrix,
  matrixSchema,
  type Workload,
  workloadSchema,
} from './schema.ts';

export const matrixNames = ['smoke', 'short', 'full'] as const;

/** A matrix with all that it names. */
export interface Declared {
  /** How it was called. */
  readonly name: string;
  readonly matrix: Matrix;
  readonly fileSystems: ReadonlyMap<string, BenchFileSystem>;
  readonly workloads: ReadonlyMap<string, Workload>;
}

const here = import.meta.dirname;

/**
 * The matrix of that name, or of that file. `ConfigError` with file, line and what is wrong, also when it names what there is not,
 * or two parts would give results of the same name.
 */
export async function readMatrix(called: string): Promise<Declared> {
  const own = matrixNames.some((name) => name === called);
  const file = own ? join(here, 'matrices', `${called}.yaml`) : resolve(called);
  const matrix = await readYaml(file, matrixSchema);
  const { filesystems } = await readYaml(
    join(here, 'filesystems.yaml'),
    z.strictObject({ filesystems: z.array(fileSystemSchema) }),
  );
  const { workloads } = await readYaml(
    join(here, 'workloads.yaml'),
    z.strictObject({ workloads: z.array(workloadSchema) }),
  );
  const declared = {
    name: called,
    matrix,
    fileSystems: byName([...filesystems, ...matrix.filesystems]),
    workloads: byName([...workloads, ...matrix.workloads]),
  };
  checkNames(file, declared);
  return declared;
}

function byName<T extends { readonly name: string }>(all: readonly T[]): ReadonlyMap<string, T> {
  return new Map(all.map((one) => [one.name, one]));
}

function checkNames(file: string, { matrix, fileSystems, workloads }: Declared): void {
  const ratios = matrix.ratios.flatMap(({ workload, overWorkload }) => [workload, overWorkload ?? workload]);
  const named = [...matrix.parts.flatMap((part) => part.workloads), ...ratios];
  const absent =
    matrix.parts.flatMap((part) => part.filesystems).find((name) => !fileSystems.has(name)) ??
    named.find((name) => !workloads.has(name));
  if (absent !== undefined) {
    throw new ConfigError(`${file} names '${absent}', which is described nowhere.`, {
      hint: `There are ${[...fileSystems.keys(), ...workloads.keys()].join(', ')}; bench/README.md says how to describe more.`,
    });
  }
}

async function readYaml<T>(file: string, schema: z.ZodType<T>): Promise<T> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new ConfigError(`The matrix ${file} cannot be read: ${(error as Error).message}.`, {
      hint: `Take ${matrixNames.join(', ')}, or the path of a file.`,
      cause: error,
    });
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [mistake] = document.errors;
  if (mistake !== undefined) throw new ConfigError(`${file}: ${mistake.message.split('\n')[0]}`);
  const parsed = schema.safeParse(document.toJS());
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0]] : issue.path;
  throw new ConfigError(
    `${file}:${lineOf(document, lines, path)}: ${path.join('.') || 'the whole'}: ${issue.message}.`,
    { hint: 'bench/README.md says what a matrix is made of.' },
  );
}

/** Line of what is at `path`, or of the nearest thing around it that is there. */
function lineOf(
  document: ReturnType<typeof parseDocument>,
  lines: LineCounter,
  path: readonly PropertyKey[],
): number {
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true) as { range?: readonly number[] } | undefined;
    if (node?.range !== undefined) return lines.linePos(node.range[0]).line;
  }
  return 1;
}
