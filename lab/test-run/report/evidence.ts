// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestOutcome } from '../verdict.ts';

/** What a failed test left, for the reader of the report: shortened texts by name. */
export type Evidence = ReadonlyMap<string, string>;

/** Files that explain a failure, best first, and how much of each goes into a report. */
const EVIDENCE = ['.out.bad', '.dmesg', '.full', '.state', '.console'];
const EVIDENCE_BYTES = 20_000;

/** What the tests that did not pass left in the directory of the run. */
export async function gatherEvidence(directory: string, tests: readonly TestOutcome[]): Promise<Evidence> {
  const evidence = new Map<string, string>();
  for (const test of tests) {
    if (test.status === 'passed' || test.status === 'notrun') continue;
    const texts: string[] = [];
    for (const suffix of EVIDENCE) {
      const text = await readFile(join(directory, test.name + suffix), 'utf8').catch(() => '');
      if (text !== '') texts.push(`== ${test.name}${suffix}\n${text.slice(-EVIDENCE_BYTES)}`);
    }
    evidence.set(test.name, texts.join('\n'));
  }
  return evidence;
}
