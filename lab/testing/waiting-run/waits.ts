// SPDX-License-Identifier: BSD-3-Clause

import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'vitest';
import { TestLabs, tinyGuest } from '../test-lab.ts';

test('has a lab up, and waits', async () => {
  await using labs = await TestLabs.create();
  await labs.must('up', '--no-server', ...tinyGuest);
  process.stdout.write('waiting\n');
  await sleep(600_000);
});
