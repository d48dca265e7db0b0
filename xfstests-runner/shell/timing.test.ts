// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scratchDirectory } from '../../lab/testing/scratch.ts';

const shell = import.meta.dirname;

/** Output of `call` in a shell with stand-ins for upstream's functions, our file sourced twice; and what was timed. */
async function timed(call: string): Promise<{ readonly output: string; readonly log: string[] }> {
  const directory = await scratchDirectory();
  const script = `RESULT_BASE=${directory}; seqres=$RESULT_BASE/generic/007
    _scratch_mkfs() { echo "mkfs $*"; sleep 0.1; return 3; }
    _mount() { echo "mount $1"; }
    _scratch_mount() { _mount "a b"; }
    _scratch_mkfs_blocksized() { _scratch_mkfs "$@"; }
    . ${shell}/timing.sh; . ${shell}/timing.sh
    ${call}`;
  const output = execFileSync('bash', ['-c', script], { encoding: 'utf8' });
  const log = readFileSync(join(directory, 'time.log'), 'utf8').trim().split('\n');
  return { output, log };
}

test('a call keeps its arguments, its output and its status, and leaves a line with its time and test', async () => {
  const { output, log } = await timed('_scratch_mkfs one "two three"; echo "status $?"');
  expect(output).toBe('mkfs one two three\nstatus 3\n');
  expect(log).toHaveLength(1);
  const [kind, micros, pid, name] = log[0].split(' ');
  expect([kind, name]).toEqual(['mkfs', 'generic/007']);
  expect(Number(micros)).toBeGreaterThan(100_000);
  expect(Number(pid)).toBeGreaterThan(1);
});

test('of calls within calls only the outermost counts, once', async () => {
  const { output, log } = await timed('_scratch_mount; _scratch_mkfs_blocksized 4096; _mount x');
  expect(output).toBe('mount a b\nmkfs 4096\nmount x\n');
  expect(log.map((line) => line.split(' ')[0])).toEqual(['mount', 'mkfs', 'mount']);
});

test('check writes its report at the end only, and none of the properties', () => {
  const script = `_xunit_add_property() { echo "$1 is $2"; }
    __generate_report_vars() { echo "what machine it is"; }
    _xunit_make_section_report() {
      __generate_report_vars; _xunit_add_property FSTYP zpmfs; echo "report of $1 after $5 s"
    }
    . ${shell}/report.sh; . ${shell}/report.sh
    _xunit_make_section_report global 1 0 0 "" && echo "a test"; _xunit_make_section_report global 1 0 0 60`;
  expect(execFileSync('bash', ['-c', script], { encoding: 'utf8' })).toBe(
    'a test\nreport of global after 60 s\n',
  );
});
