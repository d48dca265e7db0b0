// SPDX-License-Identifier: BSD-3-Clause

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleServer } from './bundle.ts';

const directory = mkdtempSync(join(tmpdir(), 'zus-main-'));
const bundle = join(directory, 'bundle');
afterAll(() => rmSync(directory, { recursive: true }));

function zus(program: string, ...words: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...words], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

const programs = {
  'in the checkout': fileURLToPath(new URL('zus.ts', import.meta.url)),
  bundled: join(bundle, 'zus.mjs'),
};

beforeAll(async () => {
  await bundleServer(bundle);
}, 60_000);

describe.each(Object.entries(programs))('zus %s', (_, program) => {
  it.each([
    [
      'no module',
      ['--root', join(directory, 'absent')],
      /^zus: there is no directory .*absent: load the kernel module/,
    ],
    ['zuf-root that cannot be mounted', ['--root', directory], /^zus: cannot mount zuf on /],
    [
      'a bad option',
      ['--channels', '17'],
      /^zus: option '--channels <n>' argument '17' is invalid. It has to be 1 to 4.$/,
    ],
    [
      'a configuration file that is not there',
      ['--config', join(directory, 'absent.yaml')],
      /^zus: cannot read .*absent.yaml: ENOENT/,
    ],
    ['no server to ask', ['status', '--control', join(directory, 'nobody')], /^zus: no server answers on /],
  ])('says in one sentence what is wrong: %s', (_case, words, message) => {
    const { status, stdout, stderr } = zus(program, ...words);
    expect(stderr.trim()).toMatch(message);
    expect(stderr.trim()).not.toContain('\n');
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });

  it('prints help', () => {
    const { status, stdout } = zus(program, '--help');
    expect(status).toBe(0);
    expect(stdout).toContain('stats [options]');
  });
});

describe('the bundle', () => {
  it('has tools that run', () => {
    const { status, stderr } = zus(join(bundle, 'mkfs.zpmfs.cjs'), '--no-such-option');
    expect(status).not.toBe(0);
    expect(stderr).toContain('--no-such-option');
    expect(stderr).not.toContain('    at ');
  });
});
