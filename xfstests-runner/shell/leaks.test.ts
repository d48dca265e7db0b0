// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scratchDirectory } from '../../lab/testing/scratch.ts';

const shell = import.meta.dirname;

/** Stand-ins for upstream's functions: a scan takes ten seconds of a clock that the test moves by hand. */
const upstream = `now=100; leak=no
  _detect_kmemleak()
  {
    KMEMLEAK_CHECK_FILE=$ZUFS_LAB_STATE/there
    touch "$KMEMLEAK_CHECK_FILE"
    echo "dismissed at $now"; now=$((now + 10))
  }
  _check_kmemleak() { echo "scan at $now after $seqnum"; now=$((now + 10)); [ $leak = no ]; }
  ran() { seqnum=$1; seqres=$ZUFS_LAB_STATE/$1; now=$((now + $2)); _check_kmemleak || echo "$1 failed"; }
`;

async function inShell(calls: string, functions = upstream): Promise<string> {
  const ZUFS_LAB_STATE = await scratchDirectory();
  const script = `${functions}
    . ${shell}/leaks.sh; . ${shell}/leaks.sh
    zufs_lab_uptime() { echo $now; }
    ${calls}`;
  return execFileSync('bash', ['-c', script], {
    encoding: 'utf8',
    env: { ...process.env, ZUFS_LAB_STATE },
  });
}

test('a scan follows when nine times as long has passed as the last one took', async () => {
  expect(await inShell('_detect_kmemleak; ran 1 5; ran 2 5; ran 3 80; ran 4 5; ran 5 90')).toBe(
    'dismissed at 100\nscan at 200 after 3\nscan at 305 after 5\n',
  );
});

test('a leak fails the test before the scan, and its report names those that may have done it', async () => {
  expect(await inShell('_detect_kmemleak; ran 1 5; leak=yes; ran 2 90; cat $ZUFS_LAB_STATE/2.kmemleak')).toBe(
    'dismissed at 100\nscan at 205 after 2\n2 failed\nTests since the scan before: 1 2\n',
  );
});

test('another run of check dismisses nothing of what the one before left', async () => {
  expect(await inShell('_detect_kmemleak; ran 1 5; (_detect_kmemleak; leak=yes; ran 2 90)')).toBe(
    'dismissed at 100\nscan at 205 after 2\n2 failed\n',
  );
});

test('a kernel without kmemleak is asked for nothing', async () => {
  const without = `_detect_kmemleak() { KMEMLEAK_CHECK_FILE=/nowhere/at/all; }
    _check_kmemleak() { echo scan; }`;
  expect(
    await inShell(
      '_detect_kmemleak; seqnum=1; _check_kmemleak; _check_kmemleak; ls $ZUFS_LAB_STATE',
      without,
    ),
  ).toBe('');
});

test('what leaked after the last scan is printed with the tests since, once', async () => {
  const state = await scratchDirectory();
  const knob = join(state, 'knob');
  await writeFile(join(state, 'zufs-lab-unscanned'), 'generic/001\ngeneric/002\n');
  await writeFile(knob, '');
  const env = { ...process.env, ZUFS_LAB_STATE: state, ZUFS_LAB_KMEMLEAK: knob };
  const look = () => execFileSync('bash', [join(shell, 'leaks-left.sh')], { encoding: 'utf8', env });
  expect(look()).toBe('scan\nTests since the scan before: generic/001 generic/002\n');
  expect(look()).toBe('');
});
