// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it } from 'vitest';
import { fileSystemNames } from './fs/index.ts';
import { parseOptions, settle, UsageError } from './options.ts';

const parse = (...words: string[]) => parseOptions(words, () => {});

describe('the command line', () => {
  it('serves everything by default', () => {
    expect(parse()).toEqual({ command: 'serve', config: null, given: {} });
    expect(settle({})).toEqual({
      fs: fileSystemNames,
      channels: 1,
      extentCache: true,
      logLevel: 'info',
      root: '/sys/fs/zuf',
      control: '/run/zus.sock',
    });
  });

  it('takes what is said', () => {
    expect(
      parse('--fs', 'nullfs', '--channels', '2', '--log-level', 'debug', '--root', '/r', '--control', '/c'),
    ).toEqual({
      command: 'serve',
      config: null,
      given: { fs: ['nullfs'], channels: 2, logLevel: 'debug', root: '/r', control: '/c' },
    });
    expect(parse('--no-extent-cache')).toMatchObject({ given: { extentCache: false } });
    expect(parse('stats', '--format', 'prometheus')).toMatchObject({
      command: 'stats',
      format: 'prometheus',
    });
    expect(parse('stop', '--control', '/c')).toMatchObject({ command: 'stop', control: '/c' });
  });

  it.each([
    [['--fs', 'extfs'], /no file system 'extfs'/],
    [['--fs', 'nullfs,nullfs'], /named twice/],
    [['--channels', '0'], /1 to 4/],
    [['--channels', 'many'], /1 to 4/],
    [['--log-level', 'loud'], /error, warn, info, debug/],
    [['--bad'], /unknown option '--bad'/],
    [['mount'], /too many arguments/],
  ])('refuses %j in one sentence', (words, message) => {
    expect(() => parse(...words)).toThrow(UsageError);
    expect(() => parse(...words)).toThrow(message);
  });

  it('prints help and asks for nothing', () => {
    let text = '';
    expect(
      parseOptions(['serve', '--help'], (part) => {
        text += part;
      }),
    ).toBeNull();
    for (const option of [
      '--fs',
      '--channels',
      '--no-extent-cache',
      '--log-level',
      '--root',
      '--control',
      '--config',
    ])
      expect(text).toContain(option);
  });
});
