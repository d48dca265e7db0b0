// SPDX-License-Identifier: BSD-3-Clause

/** sd_notify(3): tell whoever started the server, systemd for one, how it is. */

import type { Addon } from '../native/addon.ts';
import type { Log } from './log.ts';

export type ServiceState = 'READY' | 'STOPPING';

/** Says nothing when nobody asked for it: `socket` is the environment's NOTIFY_SOCKET. */
export function notify(addon: Addon, socket: string | undefined, state: ServiceState, log: Log): void {
  if (socket === undefined || socket === '') return;
  const more =
    state === 'READY' ? `MAINPID=${process.pid}\nSTATUS=serving\n` : 'STATUS=waiting for unmounts\n';
  try {
    addon.sendDatagram(socket, `${state}=1\n${more}`);
  } catch (error) {
    log('warn', 'cannot tell NOTIFY_SOCKET', {
      reason: error instanceof Error ? error.message : String(error),
    });
  }
}
