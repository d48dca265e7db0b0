// SPDX-License-Identifier: BSD-3-Clause

import { stripVTControlCharacters } from 'node:util';
import type { Reporter, SerializedError, TestModule, TestRunEndReason } from 'vitest/node';

/** Characters of a message that say what it was about; all of it stands further up. */
const MESSAGE_LENGTH = 160;

/**
 * Ends a run with one plain line, `12 passed, 0 failed, 1 skipped`, after a line for each test that failed or was skipped, with
 * the reason: a skipped check must never read as a passed one, and of a long log often only the end is kept. A file
 * that could not be loaded, or an error outside every test, counts as failed.
 */
export default class ClosingLine implements Reporter {
  onTestRunEnd(
    modules: readonly TestModule[],
    errors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    let passed = 0;
    const failed = errors.map((error) => failure('outside every test', [error]));
    const skipped: string[] = [];
    for (const module of modules) {
      const file = module.relativeModuleId;
      // Errors of the module itself or of a suite's hooks: their tests never ran.
      if (module.errors().length > 0) failed.push(failure(file, module.errors()));
      for (const suite of module.children.allSuites()) {
        if (suite.errors().length > 0) failed.push(failure(`${file} > ${suite.fullName}`, suite.errors()));
      }
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === 'passed') passed += 1;
        else if (result.state === 'failed') failed.push(failure(`${file} > ${test.fullName}`, result.errors));
        else {
          const note = result.state === 'skipped' && result.note ? `: ${result.note}` : '';
          skipped.push(`skipped: ${test.fullName}${note}`);
        }
      }
    }
    const lines = [...skipped, ...failed];
    if (reason === 'interrupted') lines.push('The run was interrupted.');
    const counts = [`${passed} passed`, `${failed.length} failed`];
    if (skipped.length > 0) counts.push(`${skipped.length} skipped`);
    process.stdout.write(`${[...lines, counts.join(', ')].join('\n')}\n`);
  }
}

function failure(where: string, errors: readonly SerializedError[]): string {
  const message = stripVTControlCharacters(errors[0]?.message ?? '').replace(/\s+/g, ' ');
  const shown = message.length > MESSAGE_LENGTH ? `${message.slice(0, MESSAGE_LENGTH)}…` : message;
  return `failed: ${where}: ${shown}`;
}
