// SPDX-License-Identifier: BSD-3-Clause

/** The loop of a ZT: one native call completes an operation and waits for the next. */

import { OP, zufs_ioc_hdr } from '../abi/layout.ts';
import type { Operation } from '../fs/filesystem.ts';

const EINTR = 4;

/** Where the commands come from. */
export interface Transport {
  readonly operation: Operation;
  /** Hand back the reply in the command buffer and sleep until the next command is there. Returns 0 or -errno. */
  wait(): number;
}

/** Serves the command in the buffer. */
export interface CommandServer {
  dispatch(): void;
}

/** Serves until it is told to leave; returns 0 then, or the -errno that ended it. */
export function runZt(transport: Transport, server: CommandServer): number {
  const { u16 } = transport.operation;
  for (;;) {
    const result = transport.wait();
    if (result === 0) {
      if (u16[zufs_ioc_hdr.operation >> 1] === OP.ZUFS_OP_BREAK) return 0;
      server.dispatch();
    } else if (result !== -EINTR) return result;
  }
}
