// SPDX-License-Identifier: BSD-3-Clause

/**
 * Structured logs: one line an event, `time level thread message key=value …`. Lines of any thread go straight to
 * stderr, since a thread that is about to sleep in the kernel has no event loop that would flush a stream.
 */

import { writeSync } from 'node:fs';

export const logLevels = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof logLevels)[number];
export type LogValue = string | number | boolean;
export type Log = (level: LogLevel, message: string, values?: Readonly<Record<string, LogValue>>) => void;

/** Lines a second and thread of one level that get through; more are counted and told of once. */
const LINES_PER_SECOND = 50;

export interface LogOptions {
  /** The most talkative level that is written. */
  readonly level: LogLevel;
  /** Name of the thread: `main`, `mount`, `zt3.0`. */
  readonly thread: string;
  readonly write?: (line: string) => void;
  readonly now?: () => number;
}

export function createLog(options: LogOptions): Log {
  const threshold = logLevels.indexOf(options.level);
  const write = options.write ?? ((line: string) => void writeSync(2, line));
  const now = options.now ?? Date.now;
  let second = 0;
  let written = 0;
  let dropped = 0;

  const put = (level: LogLevel, message: string, values: Readonly<Record<string, LogValue>>) => {
    const time = new Date(now()).toISOString();
    const rest = Object.entries(values).map(([key, value]) => ` ${key}=${quote(String(value))}`);
    const text = message.replaceAll('\n', '\\n');
    try {
      write(`${time} ${level.padEnd(5)} ${options.thread} ${text}${rest.join('')}\n`);
    } catch {
      // Whoever read the log is gone. The operation that had something to say is not to fail for it.
    }
  };

  return (level, message, values = {}) => {
    if (logLevels.indexOf(level) > threshold) return;
    const current = Math.floor(now() / 1000);
    if (current !== second) {
      if (dropped > 0) put('warn', 'log lines dropped', { count: dropped });
      second = current;
      written = 0;
      dropped = 0;
    }
    if (++written > LINES_PER_SECOND) dropped++;
    else put(level, message, values);
  };
}

function quote(value: string): string {
  return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}
