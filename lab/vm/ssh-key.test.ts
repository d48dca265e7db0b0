// SPDX-License-Identifier: BSD-3-Clause

import ssh2 from 'ssh2';
import { expect, test } from 'vitest';
import { makeKeyPair } from './ssh-key.ts';

test('every key pair can be read, of so many that some begin with a zero byte', () => {
  for (let made = 0; made < 2500; made += 1) {
    const { privateKey, publicKey } = makeKeyPair('guest');
    for (const key of [privateKey, publicKey]) expect(ssh2.utils.parseKey(key)).not.toBeInstanceOf(Error);
  }
});
