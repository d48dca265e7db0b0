// SPDX-License-Identifier: BSD-3-Clause

import { create } from 'xmlbuilder2';
import { type RunReport, suiteOf, type TestOutcome } from '../verdict.ts';
import type { Evidence } from './evidence.ts';

/**
 * The run as JUnit XML: one suite, a case a test. Failures are `failure`, a test in which the guest hung or crashed and one
 * without a verdict are `error`, notrun is `skipped`.
 */
export function junitXml(report: RunReport, evidence: Evidence): string {
  const { counts, missing, tests } = report;
  const document = create({ version: '1.0', encoding: 'UTF-8' });
  const totals = {
    tests: tests.length + missing.length,
    failures: counts.failed,
    errors: counts.crashed + counts.hung + missing.length,
    skipped: counts.notrun,
    time: report.seconds.toFixed(3),
  };
  const suites = document.ele('testsuites', { name: suiteOf(report), ...totals });
  const suite = suites.ele('testsuite', {
    name: `${suiteOf(report)}.${report.fileSystem}`,
    ...totals,
    timestamp: report.started.replace(/\.\d+Z$/, ''),
    hostname: 'zufs-lab',
  });
  const properties = suite.ele('properties');
  properties.ele('property', { name: 'run', value: printable(report.run) });
  properties.ele('property', { name: 'verdict', value: report.verdict });
  for (const test of tests) {
    const testcase = suite.ele('testcase', {
      classname: `${suiteOf(report)}.${report.fileSystem}`,
      name: test.name,
      time: test.seconds.toFixed(3),
    });
    const element = elementOf(test);
    if (element === undefined) continue;
    const text = evidence.get(test.name);
    const body = testcase.ele(element, { message: printable(test.reason), ...typeOf(element, test) });
    if (text !== undefined && element !== 'skipped') body.txt(printable(text));
  }
  for (const name of missing) {
    suite
      .ele('testcase', { classname: `${suiteOf(report)}.${report.fileSystem}`, name, time: '0.000' })
      .ele('error', { message: 'no verdict came back', type: 'missing' });
  }
  if (report.problems.length > 0) suite.ele('system-err').txt(printable(report.problems.join('\n')));
  return document.end({ prettyPrint: true });
}

function elementOf(test: TestOutcome): 'failure' | 'error' | 'skipped' | undefined {
  switch (test.status) {
    case 'passed':
      return undefined;
    case 'failed':
      return 'failure';
    case 'notrun':
      return 'skipped';
    case 'crashed':
    case 'hung':
      return 'error';
  }
}

function typeOf(element: string, test: TestOutcome): { readonly type?: string } {
  return element === 'skipped' ? {} : { type: test.status };
}

/**
 * Text as XML 1.0 can hold it: tests print whatever bytes they like, the rest becomes a question mark. The writer takes
 * what looks like a character reference for one, so that its ampersand is escaped here.
 */
function printable(text: string): string {
  return (
    text
      .toWellFormed()
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is to be replaced
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '?')
      .replace(/&(?=(?:lt|gt|amp|quot|apos|#\d+|#x[\da-fA-F]+);)/g, '&amp;')
  );
}
