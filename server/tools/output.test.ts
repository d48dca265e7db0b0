// SPDX-License-Identifier: BSD-3-Clause

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';

/** A program that prints a megabyte and ends with exit code 3; its standard output does not block. */
function printer() {
  const module = JSON.stringify(new URL('output.ts', import.meta.url).href);
  // Node makes a pipe that does not block once it has been taken for a stream.
  const code = `process.stdout._handle?.setBlocking?.(false);
    const { print } = await import(${module});
    print('x'.repeat(2 ** 20));
    process.exitCode = 3;`;
  return spawn(process.execPath, ['--input-type=module', '--eval', code], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

it('waits for a pipe that is full and does not block', async () => {
  const child = printer();
  const ended = once(child, 'close');
  let length = 0;
  await sleep(500);
  child.stdout.on('data', (data: Buffer) => {
    length += data.length;
  });
  let said = '';
  child.stderr.on('data', (data: Buffer) => {
    said += String(data);
  });
  const [exitCode] = await ended;
  expect({ length, exitCode }, said).toEqual({ length: 2 ** 20, exitCode: 3 });
});

it('keeps its exit code when nobody reads on', async () => {
  const child = printer();
  const ended = once(child, 'exit');
  child.stdout.destroy();
  expect((await ended)[0]).toBe(3);
});
