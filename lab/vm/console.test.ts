// SPDX-License-Identifier: BSD-3-Clause

import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ConsoleLog, lastLines, panicLines, scanConsole } from './console.ts';

const boot =
  'SeaBIOS\r\n\x1bc\x1b[?7l\x1b[2J[    0.000000] Linux version 6.12.117 (gcc)\r\n[    1.5] EXT4-fs (vda): mounted\r\n';

test('a guest is ready only when init says so, in a line of the kernel', () => {
  expect(scanConsole(boot)).toEqual({ readyAfter: undefined, panic: undefined, kernelStarted: true });
  const ready = '[    3.214000] zufs-guest: ready after 3.21 s\r\n';
  expect(scanConsole(boot + ready).readyAfter).toBe(3.21);
  // A program was at its own line just then.
  expect(scanConsole(`${boot}root@zufs:~# ${ready}`).readyAfter).toBe(3.21);
  expect(scanConsole(`${boot}echo zufs-guest: ready after 3.21 s\r\n`).readyAfter).toBeUndefined();
});

test('firmware alone is no kernel', () => {
  expect(scanConsole('SeaBIOS (version 1.16)\r\nBooting from ROM..').kernelStarted).toBe(false);
});

const panic = `${boot}[    2.1] VFS: Cannot open root device "/dev/none"\r
[    2.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r
[    2.2] CPU: 0 UID: 0 PID: 1 Comm: swapper/0\r
[    2.3] Call Trace:\r
`;

test("a panic's message is found, and shown with what came before and after it", () => {
  expect(scanConsole(panic).panic).toBe('VFS: Unable to mount root fs on unknown-block(0,0)');
  expect(panicLines(panic, 12).split('\n')).toEqual([
    'SeaBIOS',
    '[    0.000000] Linux version 6.12.117 (gcc)',
    '[    1.5] EXT4-fs (vda): mounted',
    '[    2.1] VFS: Cannot open root device "/dev/none"',
    '[    2.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)',
    '[    2.2] CPU: 0 UID: 0 PID: 1 Comm: swapper/0',
    '[    2.3] Call Trace:',
  ]);
});

test('last lines come without escape sequences and empty lines', () => {
  expect(lastLines(boot, 2)).toBe(
    '[    0.000000] Linux version 6.12.117 (gcc)\n[    1.5] EXT4-fs (vda): mounted',
  );
});

test('a log that grows is read in pieces', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'zufs-console-'));
  try {
    const log = new ConsoleLog(join(directory, 'console.log'));
    expect(await log.read()).toBe('');
    await appendFile(log.path, 'one\n');
    expect(await log.read()).toBe('one\n');
    expect(await log.read()).toBe('');
    await appendFile(log.path, 'two\n');
    expect(await log.read()).toBe('two\n');
    expect(log.text).toBe('one\ntwo\n');
  } finally {
    await rm(directory, { recursive: true });
  }
});
