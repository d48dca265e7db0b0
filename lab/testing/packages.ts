// SPDX-License-Identifier: BSD-3-Clause

import { LabError } from '../errors.ts';
import { installPackages } from '../runtime/apt.ts';
import { quietContext } from '../runtime/testing/context.ts';

/**
 * Install Debian packages that a test needs and the lab does not. Where that cannot be, gives the reason, to skip the test with:
 * never to pass it.
 */
export async function installForTests(...packages: readonly string[]): Promise<string | undefined> {
  try {
    await installPackages(packages, 'this test', quietContext());
    return undefined;
  } catch (error) {
    if (error instanceof LabError) return `${error.message} ${error.hint}`;
    throw error;
  }
}
