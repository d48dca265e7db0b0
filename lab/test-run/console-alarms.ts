// SPDX-License-Identifier: BSD-3-Clause

import { ConsoleLog } from '../vm/console.ts';

/** What the console says that no verdict of a test may hide. */
export interface Alarm {
  /**
   * `crashed`: kernel or server can not be trusted any more. `failed`: the test left the guest in a state in which no other test can
   * run. `stall`: something waits for long, which a busy host alone can bring about: worth a look, not a verdict.
   */
  readonly kind: 'crashed' | 'failed' | 'stall';
  /** The line, without the kernel's time. */
  readonly line: string;
}

/** Lines of the kernel after which it goes on, but not as it should; `zufs-lab:` lines come from `shell/`. */
const patterns: readonly (readonly [Alarm['kind'], RegExp])[] = [
  // Before the others: these are BUG lines too.
  [
    'stall',
    /soft lockup|hard LOCKUP|workqueue lockup|blocked for more than \d+ seconds|detected stalls on CPUs/,
  ],
  ['crashed', /kernel BUG at |\bBUG: |\bOops: |general protection fault[:,] |Unable to handle kernel /],
  ['crashed', /\bKASAN: |\bUBSAN: /],
  [
    'crashed',
    /possible (recursive locking|circular locking dependency|irq lock inversion dependency) detected/,
  ],
  ['crashed', /inconsistent lock state|suspicious RCU usage|bad unlock balance/],
  ['crashed', /zufs-lab: the server has ended/],
  ['failed', /zufs-lab: the guest's root disk is full/],
];

/** The alarms of whole lines. */
export function alarmsOf(text: string): Alarm[] {
  return text.split('\n').flatMap((line) => {
    const kind = patterns.find(([, pattern]) => pattern.test(line))?.[0];
    if (kind === undefined) return [];
    return [{ kind, line: line.replace(/^.*?\[ *\d+\.\d+\] /, '').trim() }];
  });
}

/** Watches a console from where it is now. */
export class ConsoleAlarms {
  readonly #log: ConsoleLog;
  #rest = '';

  private constructor(log: ConsoleLog) {
    this.#log = log;
  }

  static async from(path: string): Promise<ConsoleAlarms> {
    const log = new ConsoleLog(path);
    await log.read();
    return new ConsoleAlarms(log);
  }

  /** Watches it from its beginning. */
  static async whole(path: string): Promise<ConsoleAlarms> {
    return new ConsoleAlarms(new ConsoleLog(path));
  }

  /** Alarms since the last look. */
  async look(): Promise<Alarm[]> {
    const text = this.#rest + (await this.#log.read());
    const end = text.lastIndexOf('\n') + 1;
    this.#rest = text.slice(end);
    return alarmsOf(text.slice(0, end));
  }
}
