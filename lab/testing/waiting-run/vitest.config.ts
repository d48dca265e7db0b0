// SPDX-License-Identifier: BSD-3-Clause
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// A run of its own, with a test that waits while its lab is up: for test-run.integration.test.ts, which ends it.
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['waits.ts'],
    globalSetup: join(import.meta.dirname, '../global-setup.ts'),
    testTimeout: 600_000,
  },
});
