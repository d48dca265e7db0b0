// SPDX-License-Identifier: BSD-3-Clause

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readResultXml, reconcile } from './result-files.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'result-files-'));
});
afterEach(() => rm(directory, { recursive: true }));

async function read(text: string) {
  const file = join(directory, 'result.xml');
  await writeFile(file, text);
  return readResultXml(file);
}

describe('result.xml', () => {
  test('tells every test apart, whatever else a case holds', async () => {
    const { tests, unreadable } = await read(`<?xml version="1.0" encoding="UTF-8"?>
<testsuite
 name="xfstests"
 failures="1"
>
	<properties>
		<property name="ARCH" value="x86_64"/>
	</properties>
	<testcase classname="xfstests.global" name="generic/001" time="4">
	</testcase>
	<testcase classname="xfstests.global" name="generic/002" time="0">
		<skipped message="no &lt;quota&gt; here" />
	</testcase>
	<testcase classname="xfstests.global" name="generic/003" time="1">
		<failure message="- output mismatch" type="TestFail" />
		<kernel-log>
<![CDATA[
<6>[ 12.3] run fstests & more
]]>
		</kernel-log>
	</testcase>
</testsuite>
`);
    expect(unreadable).toBeUndefined();
    expect([...tests]).toEqual([
      ['generic/001', { status: 'passed', reason: '' }],
      ['generic/002', { status: 'notrun', reason: 'no <quota> here' }],
      ['generic/003', { status: 'failed', reason: '- output mismatch' }],
    ]);
  });

  test('one case, and none', async () => {
    const one = await read('<testsuite name="x"><testcase name="generic/001" time="1"/></testsuite>');
    expect([...one.tests.keys()]).toEqual(['generic/001']);
    const none = await read('<testsuite name="x"></testsuite>');
    expect(none.tests.size).toBe(0);
  });

  test('garbage and a cut file say so instead of passing for an empty run', async () => {
    expect((await read('\u0000\u0001 not xml <')).unreadable).toMatch(/result\.xml/);
    expect((await read('<testsuite name="x"><testcase name="generic/001"')).unreadable).toMatch(
      /result\.xml/,
    );
    expect((await readResultXml(join(directory, 'none.xml'))).unreadable).toMatch(/no result\.xml/);
  });
});

describe('the worse of two accounts', () => {
  const passed = { status: 'passed', reason: '' } as const;
  const notrun = { status: 'notrun', reason: 'why not' } as const;
  const failed = { status: 'failed', reason: 'why' } as const;

  test('a pass needs both, and no differing output', () => {
    expect(reconcile(passed, passed, false)?.status).toBe('passed');
    expect(reconcile(passed, undefined, false)).toBeUndefined();
    expect(reconcile(undefined, passed, false)).toBeUndefined();
    expect(reconcile(passed, passed, true)?.status).toBe('failed');
  });

  test('a failure needs one', () => {
    expect(reconcile(failed, undefined, false)?.status).toBe('failed');
    expect(reconcile(passed, failed, false)?.status).toBe('failed');
    expect(reconcile(failed, passed, false)?.status).toBe('failed');
    expect(reconcile(undefined, failed, false)?.status).toBe('failed');
  });

  test('a notrun is one unless something contradicts it', () => {
    expect(reconcile(notrun, notrun, false)).toEqual({ status: 'notrun', reason: 'why not' });
    expect(reconcile(undefined, notrun, false)?.status).toBe('notrun');
    expect(reconcile(notrun, passed, false)).toBeUndefined();
    expect(reconcile(passed, notrun, false)).toBeUndefined();
  });

  test('silence on both sides is no verdict', () => {
    expect(reconcile(undefined, undefined, false)).toBeUndefined();
  });
});
