// SPDX-License-Identifier: BSD-3-Clause

import type { Http2Session } from 'node:http2';

const pingMs = 10_000;
/** A machine that is merely busy answers within this. */
const answerMs = 60_000;

/** End a session whose other side says nothing any more, as a machine does that lost its power or its network. */
export function keepAlive(session: Http2Session): void {
  const pinging = setInterval(() => {
    if (session.closed || session.destroyed) return;
    const late = setTimeout(() => session.destroy(), answerMs).unref();
    session.ping(() => clearTimeout(late));
  }, pingMs).unref();
  session.once('close', () => clearInterval(pinging));
}
