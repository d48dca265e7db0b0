// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it } from 'vitest';
import { createLog } from './log.ts';

describe('the log', () => {
  it('writes one line an event, with values that can be told apart', () => {
    const lines: string[] = [];
    const log = createLog({
      level: 'info',
      thread: 'zt1.0',
      write: (line) => lines.push(line),
      now: () => 0,
    });
    log('warn', 'device\nmissing', { path: '/dev/my pmem', slot: 3, ok: false });
    log('debug', 'not this one');
    expect(lines).toEqual([
      '1970-01-01T00:00:00.000Z warn  zt1.0 device\\nmissing path="/dev/my pmem" slot=3 ok=false\n',
    ]);
  });

  it('holds back a flood and says how much', () => {
    const lines: string[] = [];
    let time = 1000;
    const log = createLog({
      level: 'info',
      thread: 'main',
      write: (line) => lines.push(line),
      now: () => time,
    });
    for (let i = 0; i < 200; i++) log('error', 'again');
    expect(lines).toHaveLength(50);
    time = 2500;
    log('error', 'later');
    expect(lines).toHaveLength(52);
    expect(lines[50]).toContain('log lines dropped count=150');
  });

  it('fails nobody when its reader is gone', () => {
    const log = createLog({
      level: 'info',
      thread: 'main',
      write: () => {
        throw new Error('EPIPE: broken pipe, write');
      },
    });
    expect(() => log('error', 'unheard')).not.toThrow();
  });
});
