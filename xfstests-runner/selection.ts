// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { LabError } from '../lab/errors.ts';
import { readGroups } from './tree.ts';

/** What to run: tests by name, a group, or both; `exclude` takes names away from either. */
export interface Selection {
  readonly tests: readonly string[];
  /** '' for none. */
  readonly group: string;
  /** Of the group, only tests that are in one of these too; undefined: all. */
  readonly areas?: ReadonlySet<string>;
  readonly exclude: readonly string[];
  /** Of all that is selected, so many tests: those that took least when they last passed; undefined: all. */
  readonly shortest?: number;
  /** Of all that is selected, one part of several, as for jobs on machines of their own; undefined: the whole. */
  readonly part?: { readonly number: number; readonly of: number };
}

/** Directories below `tests/` that a selection may name: upstream's generic ones and the runner's own self-checks. */
export const TEST_DIRECTORIES = ['generic', 'runner'] as const;

const listSchema = z.strictObject({ tests: z.array(z.string()).min(1) });

/** Lists of tests that the lab has: `lab` is what runs when nothing was selected, `ci` what CI runs at every change. */
export const testLists = ['lab', 'ci'] as const;

export async function readTestList(
  packageRoot: string,
  name: (typeof testLists)[number],
): Promise<readonly string[]> {
  const file = join(packageRoot, 'xfstests-runner', 'lists', `${name}.yaml`);
  return listSchema.parse(parse(await readFile(file, 'utf8'))).tests;
}

/**
 * The names to run, in numeric order and each once. A name or group that the tree does not have is an error: it would
 * otherwise look like a test that passed.
 */
export async function selectTests(
  tree: string,
  selection: Selection,
  ownTests: ReadonlyMap<string, readonly string[]>,
): Promise<readonly string[]> {
  const known = new Map([...(await readGroups(tree, 'generic')), ...ownTests]);
  const selected = new Set<string>();
  for (const name of selection.tests) {
    requireKnown(name, known);
    selected.add(name);
  }
  if (selection.group !== '') {
    const members = [...known].filter(
      ([name, groups]) =>
        name.startsWith('generic/') &&
        groups.includes(selection.group) &&
        (selection.areas === undefined || groups.some((group) => selection.areas?.has(group))),
    );
    if (members.length === 0) {
      throw new LabError(`This xfstests tree has no group '${selection.group}'.`, {
        hint: 'Usual ones are quick, auto, rw, metadata and stress.',
      });
    }
    for (const [name] of members) selected.add(name);
  }
  for (const name of selection.exclude) {
    requireKnown(name, known);
    selected.delete(name);
  }
  const tests = [...selected].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const { part } = selection;
  // By number alone: every machine has to come to the same parts, whatever times it has recorded.
  return part === undefined ? tests : tests.filter((_, at) => at % part.of === part.number - 1);
}

/**
 * The `count` of the tests that took least when they last passed, in the order of `tests`. `seconds` knows what each took;
 * undefined for one that has not passed here yet, which is never among them.
 */
export function shortestTests(
  tests: readonly string[],
  count: number,
  seconds: (test: string) => number | undefined,
): readonly string[] {
  const passed = tests.flatMap((test) => {
    const took = seconds(test);
    return took === undefined ? [] : [{ test, took }];
  });
  if (passed.length < count) {
    throw new LabError(
      `The ${count} shortest of ${tests.length} tests are not known: only ${passed.length} have passed on this file system before.`,
      { hint: 'Run the selection once without --shortest: what tests take is recorded.' },
    );
  }
  const shortest = new Set(
    passed
      .sort((a, b) => a.took - b.took)
      .slice(0, count)
      .map(({ test }) => test),
  );
  return tests.filter((test) => shortest.has(test));
}

function requireKnown(name: string, known: ReadonlyMap<string, unknown>): void {
  if (known.has(name)) return;
  throw new LabError(`This xfstests tree has no test '${name}'.`, {
    hint: 'Tests are named by directory and number, such as generic/001.',
  });
}
