// SPDX-License-Identifier: BSD-3-Clause

import { mkdir } from 'node:fs/promises';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { asLabError, describeError } from './describe-error.ts';
import { CommandFailedError, LabError } from './errors.ts';

const describe = (error: unknown, verbose = false) =>
  stripVTControlCharacters(describeError(error, { verbose }));

test('an error of the lab is its sentence and its hint', () => {
  expect(describe(new LabError('It broke.', { hint: 'Mend it.' }))).toBe('zufs-lab: It broke. Mend it.\n');
});

test('a program that failed has its last line said, which mostly is the reason', () => {
  const details = {
    command: ['rsync', 'a', 'b'],
    exitCode: 23,
    outputTail: 'sending\nrsync: a: no such file\n',
  };
  expect(describe(new CommandFailedError('rsync failed (exit code 23).', details))).toBe(
    'zufs-lab: rsync failed (exit code 23). It said: rsync: a: no such file\n',
  );
  expect(describe(new CommandFailedError('No luck: rsync: a: no such file.', details))).toBe(
    'zufs-lab: No luck: rsync: a: no such file.\n',
  );
  expect(describe(new CommandFailedError('true failed.', { ...details, outputTail: '' }))).toBe(
    'zufs-lab: true failed.\n',
  );
});

test('--verbose adds causes, the command and its last lines', () => {
  const cause = new CommandFailedError('make failed.', {
    command: ['make', 'all'],
    exitCode: 2,
    outputTail: 'one\ntwo',
  });
  const text = describe(new LabError('It broke.', { cause }), true);
  expect(text).toBe('zufs-lab: It broke.\n  because: make failed.\n  command: make all\n  | one\n  | two\n');
});

test('what nobody foresaw is called a fault of the lab', () => {
  expect(describe(new TypeError('x is undefined'))).toBe(
    'zufs-lab: x is undefined (a fault of the lab itself; --verbose shows where)\n',
  );
  expect(describe(new TypeError('x is undefined'), true)).toContain('describe-error.test.ts');
});

test('what the system refuses is for the user to mend, not a fault of the lab', async () => {
  const refused = Object.assign(new Error('EACCES: …'), {
    code: 'EACCES',
    syscall: 'mkdir',
    path: '/root/x',
  });
  expect(describe(asLabError(refused))).toBe('zufs-lab: Permission denied: mkdir /root/x.\n');
  const full = Object.assign(new Error('ENOSPC: …'), { code: 'ENOSPC', syscall: 'write' });
  expect(describe(asLabError(full))).toBe('zufs-lab: No disk space: write.\n');
  const other = await mkdir('/proc/none/x').catch((error: unknown) => error);
  expect(asLabError(other)).toBe(other);
});
