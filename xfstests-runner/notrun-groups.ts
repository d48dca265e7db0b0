// SPDX-License-Identifier: BSD-3-Clause

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { TestOutcome } from '../lab/test-run/verdict.ts';

const regularExpression = z.string().transform((text, context) => {
  try {
    return new RegExp(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
    return z.NEVER;
  }
});

const groupsSchema = z.strictObject({
  groups: z.array(
    z.strictObject({
      group: z.string().min(1),
      why: z.string().min(20, 'why it is inherent, in words'),
      fs: z.array(z.string()).min(1).optional(),
      reasons: z.array(regularExpression).min(1),
    }),
  ),
});

/** Why tests do not apply: the table of `lists/notrun.yaml`. */
export type NotrunGroups = z.infer<typeof groupsSchema>['groups'];

/** Of a reason that no group of the table has. */
export const unexplained = 'unexplained';

export function readNotrunGroups(packageRoot: string): NotrunGroups {
  const file = join(packageRoot, 'xfstests-runner', 'lists', 'notrun.yaml');
  return groupsSchema.parse(parse(readFileSync(file, 'utf8'))).groups;
}

/** Tests that did not run for one kind of reason. */
export interface NotrunGroup {
  /** Of the table, or `unexplained`. */
  readonly name: string;
  /** What makes it inherent; '' where nobody knows. */
  readonly why: string;
  readonly tests: readonly TestOutcome[];
}

/** The tests that did not run, by group: the largest first, what is unexplained last. */
export function groupNotrun(
  groups: NotrunGroups,
  fileSystem: string,
  tests: readonly TestOutcome[],
): readonly NotrunGroup[] {
  const found = new Map<string, { why: string; tests: TestOutcome[] }>();
  for (const test of tests) {
    if (test.status !== 'notrun') continue;
    const group = groups.find(
      ({ fs, reasons }) =>
        (fs === undefined || fs.includes(fileSystem)) && reasons.some((reason) => reason.test(test.reason)),
    );
    const name = group?.group ?? unexplained;
    const entry = found.get(name) ?? { why: group?.why ?? '', tests: [] };
    entry.tests.push(test);
    found.set(name, entry);
  }
  return [...found]
    .map(([name, { why, tests: members }]) => ({ name, why, tests: members }))
    .sort(
      (a, b) =>
        Number(a.name === unexplained) - Number(b.name === unexplained) || b.tests.length - a.tests.length,
    );
}
