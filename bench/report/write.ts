// SPDX-License-Identifier: BSD-3-Clause

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Declared } from '../declared.ts';
import { htmlReport } from './html.ts';
import { markdownReport } from './markdown.ts';
import { plotsOf } from './plots.ts';
import type { BenchReport } from './results.ts';

/** Every report of a run, beside its journal. */
export async function writeReports(
  directory: string,
  report: BenchReport,
  declared: Pick<Declared, 'workloads' | 'fileSystems'>,
): Promise<void> {
  await writeFile(join(directory, 'bench.json'), `${JSON.stringify(report, undefined, 1)}\n`);
  await writeFile(join(directory, 'summary.md'), markdownReport(report, declared));
  const plots = await plotsOf(report);
  for (const { name, svg } of plots) await writeFile(join(directory, `${name}.svg`), svg);
  await writeFile(join(directory, 'index.html'), htmlReport(report, declared, plots));
}
