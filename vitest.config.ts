// SPDX-License-Identifier: BSD-3-Clause
import { defineConfig } from 'vitest/config';

// Two projects: `unit` runs in seconds on any machine; `integration` builds the kernel and the image when the
// cache does not hold them, boots a VM and drives it as a user would.
export default defineConfig({
  test: {
    reporters: ['default', './lab/testing/closing-line.ts'],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{lab,server,xfstests-runner,workloads,bench,kernel-config}/**/*.test.ts'],
          exclude: ['**/*.integration.test.ts', '**/node_modules/**'],
          // Some start the command line several times, a second each, more on a machine that does other things.
          testTimeout: 30_000,
          hookTimeout: 30_000,
          expect: { poll: { timeout: 20_000 } },
        },
      },
      {
        test: {
          name: 'integration',
          include: ['{lab,server,xfstests-runner,workloads,bench,kernel-config}/**/*.integration.test.ts'],
          globalSetup: 'lab/testing/global-setup.ts',
          fileParallelism: false,
          testTimeout: 600_000,
          hookTimeout: 3_600_000,
        },
      },
    ],
  },
});
