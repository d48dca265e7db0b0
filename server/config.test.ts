// SPDX-License-Identifier: BSD-3-Clause

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readConfig } from './config.ts';
import { parseOptions, settle, UsageError } from './options.ts';

const directory = mkdtempSync(join(tmpdir(), 'zus-config-'));
afterAll(() => rmSync(directory, { recursive: true }));
const file = join(directory, 'zus.yaml');

function config(text: string): string {
  writeFileSync(file, text);
  return file;
}

describe('the configuration file', () => {
  it('sets what the command line does not', () => {
    config(
      '# comments too\nfs: [zpmfs]\nchannels: 2\nextentCache: false\nlogLevel: warn\nroot: /somewhere\ncontrol: /there.sock\n',
    );
    const options = parseOptions(['--config', file, '--channels', '3'], () => {});
    if (options?.command !== 'serve') throw new Error('not parsed');
    expect(options.config).toBe(file);
    expect(settle(readConfig(file), options.given)).toEqual({
      fs: ['zpmfs'],
      channels: 3,
      extentCache: false,
      logLevel: 'warn',
      root: '/somewhere',
      control: '/there.sock',
    });
  });

  it('may say nothing', () => {
    expect(readConfig(config(''))).toEqual({});
    expect(readConfig(config('channels: 1\n'))).toEqual({ channels: 1 });
  });

  it.each([
    ['a key that is not known', 'fs: [zpmfs]\nchanels: 2\n', /zus.yaml:2: chanels: Unrecognized key/],
    ['a value out of range', 'channels: 17\n', /zus.yaml:1: channels: Too big: expected number to be <=4/],
    ['a wrong type', '\n\nchannels: many\n', /zus.yaml:3: channels: Invalid input: expected (int|number)/],
    ['an unknown file system', 'fs:\n  - zpmfs\n  - extfs\n', /zus.yaml:3: fs.1: Invalid option/],
    ['a file system named twice', 'fs: [zpmfs, zpmfs]\n', /zus.yaml:1: fs: a file system is named twice/],
    ['a relative path', 'root: here\n', /zus.yaml:1: root: it has to be an absolute path/],
    ['no YAML', 'fs: [zpmfs\nchannels: 1\n', /zus.yaml:\d: /],
  ])('is refused in one sentence with its line: %s', (_, text, message) => {
    config(text);
    expect(() => readConfig(file)).toThrow(UsageError);
    expect(() => readConfig(file)).toThrow(message);
    try {
      readConfig(file);
    } catch (error) {
      expect(String(error).split('\n')).toHaveLength(1);
    }
  });

  it('has to be there when it is named', () => {
    expect(() => readConfig(join(directory, 'absent.yaml'))).toThrow(/cannot read .*absent.yaml: ENOENT/);
  });
});
