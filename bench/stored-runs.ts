// SPDX-License-Identifier: BSD-3-Clause

import { readdir, readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { LabError } from '../lab/errors.ts';
import { benchRoot } from './journal.ts';
import { type BenchReport, benchReportSchema } from './report/results.ts';

/** Directory of a run of this checkout, by its name, its path, or `latest`. */
export async function findRun(packageRoot: string, called: string): Promise<string> {
  const root = benchRoot(packageRoot);
  const runs = (await readdir(root).catch((): string[] => [])).sort();
  if (called === 'latest') {
    // Names begin with the time.
    const last = runs.at(-1);
    if (last === undefined) {
      throw new LabError('There is no benchmark run yet.', { hint: 'Start one: zufs-lab bench' });
    }
    return join(root, last);
  }
  return runs.includes(basename(called)) ? join(root, basename(called)) : resolve(called);
}

/** The report of a run: its name, its directory, a `bench.json` of any place, or `latest`. */
export async function findReport(packageRoot: string, called: string): Promise<BenchReport> {
  const directory = await findRun(packageRoot, called);
  for (const place of [join(directory, 'bench.json'), directory]) {
    const text = await readFile(place, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    try {
      return benchReportSchema.parse(JSON.parse(text));
    } catch (error) {
      throw new LabError(`${place} is not the report of a benchmark.`, { cause: error });
    }
  }
  throw new LabError(`There is no benchmark run '${called}'.`, {
    hint: `Runs lie below ${benchRoot(packageRoot)}; \`latest\` is the last one.`,
  });
}
