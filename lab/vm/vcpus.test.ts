// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { allowedCpus } from './vcpus.ts';

test('CPUs that a process may run on', () => {
  expect(allowedCpus('Cpus_allowed:\t0f\nCpus_allowed_list:\t0-2,5\n')).toEqual([0, 1, 2, 5]);
  expect(allowedCpus('')).toEqual([]);
});
