// SPDX-License-Identifier: BSD-3-Clause

/**
 * Standard output and standard error, without a stream: for `process.stdout` Node loads sockets and terminals first, half of what a
 * small fsck takes on an emulated CPU.
 */

import { writeFileSync } from 'node:fs';

export function print(text: string): void {
  writeFileSync(1, text);
}

export function printError(text: string): void {
  writeFileSync(2, text);
}
