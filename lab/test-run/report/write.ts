// SPDX-License-Identifier: BSD-3-Clause

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunReport } from '../verdict.ts';
import { gatherEvidence } from './evidence.ts';
import { htmlPage } from './html.ts';
import { junitXml } from './junit.ts';
import { markdownSummary } from './summary.ts';

/** Every report of a run, made from its verdicts and from what its tests left in its directory. */
export async function writeReports(directory: string, report: RunReport): Promise<void> {
  const evidence = await gatherEvidence(directory, report.tests);
  await writeFile(join(directory, 'report.json'), `${JSON.stringify(report, undefined, 2)}\n`);
  await writeFile(join(directory, 'junit.xml'), `${junitXml(report, evidence)}\n`);
  await writeFile(join(directory, 'summary.md'), markdownSummary(report));
  await writeFile(join(directory, 'index.html'), htmlPage(report, evidence));
}
