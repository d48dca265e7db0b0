// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { guestCommandLine } from './ssh.ts';
import { keyBlob, makeKeyPair } from './ssh-key.ts';

test.each([[['printf', '%s|', 'a b', "it's", '', '$HOME', '`id`', 'x\ny', '*', '-n', '~', 'ä']]])(
  'a shell takes the words for what they are: %j',
  (words) => {
    const line = guestCommandLine(words);
    expect(execFileSync('/bin/sh', ['-c', line], { encoding: 'utf8' })).toBe(
      words
        .slice(2)
        .map((word) => `${word}|`)
        .join(''),
    );
  },
);

test('directory and environment come before the program', () => {
  const line = guestCommandLine(['sh', '-c', 'echo "$PWD $WORD"'], {
    cwd: '/usr/lib',
    env: { WORD: 'a  b' },
  });
  expect(execFileSync('/bin/sh', ['-c', line], { encoding: 'utf8' })).toBe('/usr/lib a  b\n');
});

test("a variable's name is not quoted, so it is checked", () => {
  expect(() => guestCommandLine(['true'], { env: { 'A;reboot': '' } })).toThrow(
    'not an environment variable',
  );
});

test('the key that goes on the kernel command line is one word', () => {
  const { privateKey, publicKey } = makeKeyPair('zufs-lab-test');
  expect(privateKey).toMatch(/^-----BEGIN OPENSSH PRIVATE KEY-----/);
  expect(keyBlob(publicKey)).toMatch(/^AAAAC3NzaC1lZDI1NTE5[A-Za-z0-9+/=]+$/);
});
