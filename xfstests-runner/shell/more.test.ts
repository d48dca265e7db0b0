// SPDX-License-Identifier: BSD-3-Clause

import { spawn } from 'node:child_process';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { scratchDirectory } from '../../lab/testing/scratch.ts';

const shell = import.meta.dirname;

/** Goes through tests as check does, with the verdict of each told to upstream's function, our file sourced twice. */
const check = `
  _make_testcase_report() { echo "report of $2"; }
  . ${shell}/more.sh; . ${shell}/more.sh
  run_section() {
    local ix
    local -a _list=( $list )
    for ((ix = 0; ix < \${#_list[*]}; ix++)); do
      echo "\${_list[$ix]}"
      sleep 0.05
      _make_testcase_report global "\${_list[$ix]}" pass 1
    done
  }
  run_section; echo over`;

async function start(tests: string, { patience = 3000, more = true } = {}) {
  const file = join(await scratchDirectory(), 'more');
  await writeFile(file, '');
  const env = { ...process.env, list: tests, SRC_DIR: 'tests', ZUFS_LAB_MORE: more ? file : '' };
  const script = check.replace('run_section;', `zufs_lab_patience=${patience}; run_section;`);
  const child = spawn('bash', ['-c', script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  return { file, output: text(child.stdout) };
}

const ran = (output: string) =>
  output
    .trim()
    .split('\n')
    .filter((line) => !line.startsWith('report'));

test('tests that are added while it runs are run, and the dot ends it', async () => {
  const { file, output } = await start('tests/generic/001');
  await appendFile(file, 'generic/002\ngeneric/003\n');
  await new Promise((resolve) => setTimeout(resolve, 600));
  // By now it waits.
  await appendFile(file, 'generic/004\n');
  await appendFile(file, '.\n');
  expect(ran(await output)).toEqual([
    'tests/generic/001',
    'tests/generic/002',
    'tests/generic/003',
    'tests/generic/004',
    'over',
  ]);
});

test('each test is reported once', async () => {
  const { file, output } = await start('tests/generic/001');
  await appendFile(file, 'generic/002\n.\n');
  expect((await output).match(/^report of .*$/gm)).toEqual([
    'report of tests/generic/001',
    'report of tests/generic/002',
  ]);
});

test('who should give more may be gone: it is not waited for without end', async () => {
  const { output } = await start('tests/generic/001', { patience: 3 });
  expect(ran(await output)).toEqual(['tests/generic/001', 'over']);
});

test('without a file nothing is waited for', async () => {
  const { output } = await start('tests/generic/001 tests/generic/002', { more: false });
  expect(ran(await output)).toEqual(['tests/generic/001', 'tests/generic/002', 'over']);
});
