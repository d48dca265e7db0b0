// SPDX-License-Identifier: BSD-3-Clause

import { appendFileSync, existsSync } from 'node:fs';
import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LabError } from '../lab/errors.ts';
import { isFailure, outcomeSchema, type TestOutcome } from '../lab/test-run/verdict.ts';

/** What a run set out to do: all that `--resume` needs to go on with it. */
const planSchema = z.object({
  run: z.string(),
  fileSystem: z.string(),
  /** In the order in which they run. */
  tests: z.array(z.string()),
  started: z.iso.datetime(),
  /** Expunged tests are run too; left out by older labs. */
  runExpunged: z.boolean().exactOptional(),
});

export type RunPlan = z.infer<typeof planSchema>;

const planFile = 'plan.json';
const journalFile = 'journal.jsonl';

/**
 * How far a verdict has come. `printed`: `check` said so, which counts until what it recorded has been looked at, or for good when it
 * never is: with a lost VM, or a run that was killed. `settled`: it stands in the report of the run.
 */
export type Stage = 'printed' | 'settled';

/** Older labs left the stage out, and wrote a verdict a second time when it was settled. */
const verdictSchema = outcomeSchema.extend({ stage: z.enum(['printed', 'settled']).exactOptional() });

/** Something that went wrong with the lab, and the tests whose verdicts lack evidence by it. */
const doubtSchema = z.object({ problem: z.string(), tests: z.array(z.string()) });

/** Something that went wrong and was made good. */
const eventSchema = z.object({ event: z.string() });

const entrySchema = z.union([verdictSchema, doubtSchema, eventSchema]);

type Entry = z.infer<typeof entrySchema>;

/** The verdicts and events of a run as they come, on disk at once: what a run that was killed had found out is not lost. */
export class Journal {
  readonly #file: string;

  constructor(directory: string) {
    this.#file = join(directory, journalFile);
    // A run that was killed may have left half a line: what follows is not to become a part of it.
    if (existsSync(this.#file)) appendFileSync(this.#file, '\n');
  }

  verdict(outcome: TestOutcome, stage: Stage): void {
    this.#write({ ...outcome, stage });
  }

  /**
   * Something went wrong by which evidence about these tests is lacking: what was written of them until now is nothing to go on from.
   * A verdict that is settled after it counts again.
   */
  doubt(problem: string, tests: readonly string[]): void {
    this.#write({ problem, tests: [...tests] });
  }

  event(event: string): void {
    this.#write({ event });
  }

  #write(entry: Entry): void {
    appendFileSync(this.#file, `${JSON.stringify(entry)}\n`);
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

/** A run to go on with. */
export interface BegunRun {
  readonly plan: RunPlan;
  /** Verdicts that stand. All other tests of the plan are still to be run. */
  readonly outcomes: readonly TestOutcome[];
  /** Of the lab, in sentences: those that no test which is still to be run will answer. */
  readonly problems: readonly string[];
  /** What went wrong and was made good, in sentences. */
  readonly events: readonly string[];
}

/** The plan of a run, and what it had come to. */
export async function readJournal(directory: string): Promise<BegunRun> {
  let plan: RunPlan;
  try {
    plan = planSchema.parse(JSON.parse(await readFile(join(directory, planFile), 'utf8')));
  } catch (error) {
    throw new LabError(`${directory} holds no run that could be resumed.`, { cause: error });
  }
  const text = await readFile(join(directory, journalFile), 'utf8').catch(() => '');
  const planned = new Set(plan.tests);
  const outcomes = new Map<string, TestOutcome>();
  const problems = new Set<string>();
  const events: string[] = [];
  const failed = (test: string): boolean => isFailure(outcomes.get(test)?.status ?? 'notrun');
  for (const entry of text.split('\n').flatMap(parseLine)) {
    if ('event' in entry) {
      events.push(entry.event);
      continue;
    }
    if ('problem' in entry) {
      // A failure stays one, since no evidence makes less of it.
      const again = entry.tests.filter((test) => planned.has(test) && !failed(test));
      for (const test of again) outcomes.delete(test);
      // With none to run again, nothing would ever tell what is lacking.
      if (again.length === 0) problems.add(entry.problem);
      continue;
    }
    const { stage = 'settled', ...outcome } = entry;
    const stands = stage === 'settled' || !outcomes.has(outcome.name);
    if (stands && planned.has(outcome.name)) outcomes.set(outcome.name, outcome);
  }
  return { plan, outcomes: [...outcomes.values()], problems: [...problems], events };
}

/** The last line of a run that was killed may be half a one. */
function parseLine(line: string): readonly Entry[] {
  try {
    return [entrySchema.parse(JSON.parse(line))];
  } catch {
    return [];
  }
}
