// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { SettingsContext } from '../lab/context.ts';
import { LabError } from '../lab/errors.ts';
import { type RunReport, reportSchema } from '../lab/test-run/verdict.ts';
import { resultsRoot } from './xfstests.ts';

/** Goes into a file name. */
const baselineName = /^[\w.-]+$/;

function baselineFile({ cacheRoot }: SettingsContext, name: string): string {
  if (!baselineName.test(name)) {
    throw new LabError(`'${name}' is no name for a baseline: letters, digits, dots and dashes.`);
  }
  return join(cacheRoot, 'baselines', `${name}.json`);
}

/** Keep a run's verdicts and times under a name, for later runs to be compared with; replaces what had that name. */
export async function saveBaseline(context: SettingsContext, name: string, report: RunReport): Promise<void> {
  const file = baselineFile(context, name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(report, undefined, 2)}\n`);
}

/**
 * The report of a run, called by the name of its directory, by that of a baseline, by the path of either, or `latest`. `LabError`
 * when there is none, or what is there is none.
 */
export async function findReport(context: SettingsContext, called: string): Promise<RunReport> {
  const places =
    called === 'latest'
      ? [join(await findRunDirectory(context, called), 'report.json')]
      : [
          ...(baselineName.test(called) ? [baselineFile(context, called)] : []),
          join(resultsRoot(context.packageRoot), called, 'report.json'),
          join(resolve(called), 'report.json'),
          resolve(called),
        ];
  for (const place of places) {
    const text = await readFile(place, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    try {
      return reportSchema.parse(JSON.parse(text));
    } catch (error) {
      throw new LabError(`${place} is not the report of a run.`, { cause: error });
    }
  }
  throw new LabError(`There is no run and no baseline '${called}'.`, {
    hint: `Runs lie below ${resultsRoot(context.packageRoot)}; \`latest\` is the last one.`,
  });
}

/** Directory of a run of this checkout, by its name, its path, or `latest`. */
export async function findRunDirectory(context: SettingsContext, called: string): Promise<string> {
  const root = resultsRoot(context.packageRoot);
  const runs = await readdir(root).catch((): string[] => []);
  if (called === 'latest') {
    // Names begin with the time.
    const last = runs.sort().at(-1);
    if (last === undefined)
      throw new LabError('There is no run yet.', { hint: 'Start one: zufs-lab xfstests' });
    return join(root, last);
  }
  return runs.includes(basename(called)) ? join(root, basename(called)) : resolve(called);
}
