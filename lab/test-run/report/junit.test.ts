// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { noProvenance } from '../testing/provenance.ts';
import type { RunReport } from '../verdict.ts';
import { junitXml } from './junit.ts';

const report: RunReport = {
  run: '20260102-030405-zpmfs',
  verdict: 'incomplete',
  counts: { passed: 1, failed: 1, notrun: 1, crashed: 1, hung: 1 },
  tests: [
    { name: 'generic/001', status: 'passed', seconds: 1.25, reason: '' },
    { name: 'generic/002', status: 'failed', seconds: 2, reason: 'wants <a> & "b" \u0007 &lt;' },
    { name: 'generic/003', status: 'notrun', seconds: 0.5, reason: 'no quota' },
    { name: 'generic/004', status: 'crashed', seconds: 3, reason: 'the guest panicked' },
    { name: 'generic/005', status: 'hung', seconds: 900, reason: 'did not end within 900 s' },
  ],
  missing: ['generic/006'],
  problems: ['The VM was lost: gone'],
  fileSystem: 'zpmfs',
  seconds: 910.5,
  started: '2026-01-02T03:04:05.678Z',
  events: [],
  shards: 1,
  provenance: noProvenance,
};
const evidence = new Map([['generic/002', 'bytes \u0000\u001b[1m ]]> & \ud800 <tag>']]);

/** What a strict parser of another make reads: attributes of the suite, and each case with its child's tag and message. */
function parsed(xml: string): { suite: Record<string, string>; cases: [string, string, string, string][] } {
  const script = `
import json, sys, xml.etree.ElementTree as tree
suite = tree.fromstring(sys.stdin.buffer.read()).find('testsuite')
cases = []
for case in suite.findall('testcase'):
    child = case[0] if len(case) else None
    cases.append([case.get('name'), '' if child is None else child.tag, '' if child is None else child.get('message'), (child.text or '') if child is not None else ''])
json.dump({'suite': suite.attrib, 'cases': cases}, sys.stdout)`;
  return JSON.parse(execFileSync('python3', ['-c', script], { input: xml, encoding: 'utf8' }));
}

test('a strict parser reads every case, with any bytes a test printed', () => {
  const { suite, cases } = parsed(junitXml(report, evidence));
  expect(suite).toMatchObject({ tests: '6', failures: '1', errors: '3', skipped: '1', time: '910.500' });
  expect(suite.timestamp).toBe('2026-01-02T03:04:05');
  expect(cases.map(([name, tag]) => `${name} ${tag}`.trim())).toEqual([
    'generic/001',
    'generic/002 failure',
    'generic/003 skipped',
    'generic/004 error',
    'generic/005 error',
    'generic/006 error',
  ]);
  expect(cases[1][2]).toBe('wants <a> & "b" ? &lt;');
  expect(cases[1][3]).toBe('bytes ??[1m ]]> & \ufffd <tag>');
});
