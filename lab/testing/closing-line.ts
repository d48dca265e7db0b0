// SPDX-License-Identifier: BSD-3-Clause

import type { Reporter, TestModule, TestRunEndReason } from 'vitest/node';

/**
 * Ends a run with one plain line, `12 passed, 0 failed, 1 skipped`, and names what was skipped and why: a skipped check
 * must never read as a passed one. A file that could not be loaded, or an error outside every test, counts as failed.
 */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[], reason: TestRunEndReason): void {
    let passed = 0;
    let failed = errors.length;
    let skipped = 0;
    for (const module of modules) {
      // Errors of the module itself or of a suite's hooks: their tests never ran.
      if (module.errors().length > 0) failed += 1;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) failed += 1;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === 'passed') passed += 1;
        else if (result.state === 'failed') failed += 1;
        else {
          skipped += 1;
          const note = result.state === 'skipped' && result.note ? `: ${result.note}` : '';
          process.stdout.write(`skipped: ${test.fullName}${note}\n`);
        }
      }
    }
    if (reason === 'interrupted') process.stdout.write('The run was interrupted.\n');
    process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
  }
}
