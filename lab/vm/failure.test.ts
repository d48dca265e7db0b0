// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { ConnectionLostError, GuestPanicError, LabNotUpError, PortTakenError } from './failure.ts';

test('a failure shows the last lines of the console and where all of it is', () => {
  const error = new GuestPanicError("The guest's kernel panicked while booting: no init.", {
    consoleTail: 'first\nsecond',
    consoleLog: '/state/console.log',
  });
  expect(error.message).toBe(
    "The guest's kernel panicked while booting: no init. Last lines of the console:\n  | first\n  | second\n",
  );
  expect(error.hint).toBe('The whole console is in /state/console.log.');
  expect(error.exitCode).toBe(2);
});

test('what was found out of a guest comes after its console', () => {
  const error = new ConnectionLostError('It does not answer.', {
    consoleTail: 'last',
    consoleLog: '/c',
    found: 'QEMU says that the VM is running.',
  });
  expect(error.message).toBe(
    'It does not answer. Last lines of the console:\n  | last\nQEMU says that the VM is running.\n',
  );
});

test('an empty console is said to be empty', () => {
  const error = new GuestPanicError('It panicked.', { consoleTail: '', consoleLog: '/c' });
  expect(error.message).toBe('It panicked. The console is empty.');
});

test('errors name what to change', () => {
  expect(new PortTakenError(2222).message).toMatch(/2222/);
  expect(new PortTakenError(2222).hint).toMatch(/vm\.sshPort/);
  expect(new LabNotUpError('second').hint).toBe('Start it with: zufs-lab up --name second');
});
