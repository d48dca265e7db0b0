// SPDX-License-Identifier: BSD-3-Clause

import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { convert } from 'xmlbuilder2';
import type { PrintedVerdict } from './check-output.ts';

/** What the files that `check` left say about one test. */
export type RecordedStatus = 'passed' | 'failed' | 'notrun';

export interface RecordedResults {
  /** From `result.xml`, which `check` rewrites before every test. */
  readonly tests: ReadonlyMap<string, { readonly status: RecordedStatus; readonly reason: string }>;
  /** Why `result.xml` tells nothing, if so. */
  readonly unreadable: string | undefined;
}

/** Read `result.xml`: xunit-like, with elements of upstream's own. */
export async function readResultXml(file: string): Promise<RecordedResults> {
  const tests = new Map<string, { status: RecordedStatus; reason: string }>();
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch {
    return { tests, unreadable: 'check left no result.xml' };
  }
  try {
    const root = convert(text, { format: 'object' });
    const suite = asRecord(asRecord(root)?.testsuite);
    if (suite === undefined) return { tests, unreadable: 'result.xml holds no test suite' };
    for (const entry of asList(suite.testcase)) {
      const testcase = asRecord(entry);
      const name = testcase?.['@name'];
      if (testcase === undefined || typeof name !== 'string') continue;
      tests.set(name, recorded(testcase));
    }
    return { tests, unreadable: undefined };
  } catch {
    return { tests: new Map(), unreadable: 'result.xml is not XML' };
  }
}

function recorded(testcase: Record<string, unknown>): { status: RecordedStatus; reason: string } {
  if ('failure' in testcase) return { status: 'failed', reason: message(testcase.failure) };
  if ('skipped' in testcase) return { status: 'notrun', reason: message(testcase.skipped) };
  return { status: 'passed', reason: '' };
}

function message(element: unknown): string {
  const text = asRecord(element)?.['@message'];
  return typeof text === 'string' ? decodeEntities(text) : '';
}

const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };

/** The parser leaves character references as they stand; `check` writes no others than these. */
function decodeEntities(text: string): string {
  return text.replace(/&(lt|gt|quot|apos|amp);/g, (_, name: string) => ENTITIES[name]);
}

function asRecord(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
}

/** One element comes as an object, several as an array. */
function asList(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

/** Whether the results hold an output that differed, which `check` removes before a test starts. */
export async function hasBadOutput(results: string, test: string): Promise<boolean> {
  const directory = join(results, dirname(test));
  const number = test.slice(test.indexOf('/') + 1);
  const names = await readdir(directory).catch(() => [] as string[]);
  return names.includes(`${number}.out.bad`);
}

/** A verdict made of what `check` printed and what it recorded; undefined when they do not add up to one. */
export type Reconciled =
  | { readonly status: 'passed' | 'failed' | 'notrun'; readonly reason: string }
  | undefined;

/**
 * The worse of the two accounts. A pass needs both: printed, recorded and no differing output. A failure needs one. A notrun
 * needs either account to say so and none to say otherwise.
 */
export function reconcile(
  printed: PrintedVerdict | undefined,
  recordedVerdict: { readonly status: RecordedStatus; readonly reason: string } | undefined,
  badOutput: boolean,
): Reconciled {
  if (printed?.status === 'failed') return { status: 'failed', reason: printed.reason };
  if (recordedVerdict?.status === 'failed') {
    return { status: 'failed', reason: recordedVerdict.reason || 'failed' };
  }
  if (badOutput) return { status: 'failed', reason: 'output mismatch' };
  if (printed?.status === 'passed' && recordedVerdict?.status === 'passed') {
    return { status: 'passed', reason: '' };
  }
  if (printed?.status === 'notrun' && recordedVerdict?.status !== 'passed') {
    return { status: 'notrun', reason: printed.reason };
  }
  if (printed === undefined && recordedVerdict?.status === 'notrun') {
    return { status: 'notrun', reason: recordedVerdict.reason };
  }
  return undefined;
}
