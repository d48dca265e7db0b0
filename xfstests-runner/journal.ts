// SPDX-License-Identifier: BSD-3-Clause

import { appendFileSync } from 'node:fs';
import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LabError } from '../lab/errors.ts';
import { outcomeSchema, type TestOutcome } from './verdict.ts';

/** What a run set out to do: all that `--resume` needs to go on with it. */
const planSchema = z.object({
  run: z.string(),
  fileSystem: z.string(),
  /** In the order in which they run. */
  tests: z.array(z.string()),
  started: z.iso.datetime(),
});

export type RunPlan = z.infer<typeof planSchema>;

const planFile = 'plan.json';
const journalFile = 'journal.jsonl';

/** The verdicts of a run as they come, on disk at once: what a run that was killed had found out is not lost. */
export class Journal {
  readonly #file: string;

  constructor(directory: string) {
    this.#file = join(directory, journalFile);
  }

  /** A later entry of a test replaces an earlier one. */
  write(outcome: TestOutcome): void {
    appendFileSync(this.#file, `${JSON.stringify(outcome)}\n`);
  }
}

/** Whether a run got as far as to write down what it sets out to do. */
export async function hasPlan(directory: string): Promise<boolean> {
  return await access(join(directory, planFile)).then(
    () => true,
    () => false,
  );
}

export async function writePlan(directory: string, plan: RunPlan): Promise<void> {
  await writeFile(join(directory, planFile), `${JSON.stringify(plan, undefined, 2)}\n`);
}

/** The plan of a run and the verdicts that it had come to. */
export async function readJournal(
  directory: string,
): Promise<{ readonly plan: RunPlan; readonly outcomes: readonly TestOutcome[] }> {
  let plan: RunPlan;
  try {
    plan = planSchema.parse(JSON.parse(await readFile(join(directory, planFile), 'utf8')));
  } catch (error) {
    throw new LabError(`${directory} holds no run that could be resumed.`, { cause: error });
  }
  const text = await readFile(join(directory, journalFile), 'utf8').catch(() => '');
  const outcomes = new Map<string, TestOutcome>();
  for (const line of text.split('\n')) {
    const outcome = parseLine(line);
    if (outcome !== undefined && plan.tests.includes(outcome.name)) outcomes.set(outcome.name, outcome);
  }
  return { plan, outcomes: [...outcomes.values()] };
}

/** The last line of a run that was killed may be half a one. */
function parseLine(line: string): TestOutcome | undefined {
  try {
    return outcomeSchema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
