// SPDX-License-Identifier: BSD-3-Clause

/**
 * Standard output and standard error, without a stream: for `process.stdout` Node loads sockets and terminals first, half of what a
 * small fsck takes on an emulated CPU.
 */

import { writeSync } from 'node:fs';

/** Between two tries to write to a full pipe that does not block. */
const retryMs = 10;

export function print(text: string): void {
  writeAll(1, text);
}

export function printError(text: string): void {
  writeAll(2, text);
}

function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(fd, bytes, written);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Nobody reads on: no reason for another exit code.
      if (code === 'EPIPE') return;
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs);
    }
  }
}
