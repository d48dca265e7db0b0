// SPDX-License-Identifier: BSD-3-Clause

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defaultCacheRoot } from '../paths.ts';
import { TestLabs, tinyGuest } from '../testing/test-lab.ts';

let labs: TestLabs;
beforeAll(async () => {
  labs = await TestLabs.create();
  // What the phases below need from the cache, so that each test meets the phase it is about.
  await labs.must('kernel', 'build');
  await labs.must('image', 'build');
});
afterAll(() => labs[Symbol.asyncDispose]());

/** Nothing runs, and no artefact is half there. */
function expectNothingLeft(cacheRoot: string): void {
  expect(labs.runningPrograms()).toEqual([]);
  for (const kind of existsSync(cacheRoot) ? readdirSync(cacheRoot) : []) {
    const entries = existsSync(join(cacheRoot, kind)) ? readdirSync(join(cacheRoot, kind)) : [];
    expect(entries.filter((name) => /\.(building|root|lock)$/.test(name))).toEqual([]);
  }
}

describe('Ctrl-C ends the command with 130, and all that it started', () => {
  test.each([
    // A size that no other test has: the phase is then not skipped for a cached artefact.
    [
      'while packages are installed in the image',
      ['image', 'build', '--set', 'image.size=2049M'],
      /packages of/,
    ],
    [
      'while namespaces are made',
      ['up', '--no-server', ...tinyGuest, '--set', 'vm.pmemSize=66M'],
      /fsdax namespaces/,
    ],
    ['while the guest boots', ['up', '--no-server', ...tinyGuest], /Linux version|\[ +\d+\.\d+\]/],
    ['while the server is brought up', ['up'], /bundling the server|starting zus/],
  ])('%s', async (_phase, command, says) => {
    const cli = labs.start(...command, '--name', 'interrupted', '--verbose');
    await cli.says(says);
    cli.process.kill('SIGINT');
    const { code, stderr } = await cli.end();
    expect(stderr).toMatch(/Interrupted/);
    expect(code).toBe(130);
    expectNothingLeft(defaultCacheRoot(process.env));
  });
});

describe('a zufs-lab that is killed outright', () => {
  test('leaves a VM that down finds, while booting', async () => {
    const cli = labs.start('up', '--no-server', '--name', 'killed', ...tinyGuest, '--verbose');
    await cli.says(/\[ +\d+\.\d+\]/);
    cli.process.kill('SIGKILL');
    await cli.end();
    expect(labs.runningPrograms()).toHaveLength(1);
    expect(await labs.must('down', '--name', 'killed')).toMatch(/is down \(1 ended\)/);
    expect(labs.runningPrograms()).toEqual([]);
  });

  test('is no trouble to the next up, and down --all ends every lab', async () => {
    const cli = labs.start('up', '--no-server', '--name', 'killed', ...tinyGuest, '--verbose');
    await cli.says(/\[ +\d+\.\d+\]/);
    cli.process.kill('SIGKILL');
    await cli.end();
    await labs.must('up', '--no-server', '--name', 'killed', ...tinyGuest);
    expect(labs.runningPrograms()).toHaveLength(1);
    await labs.must('down', '--all');
    expect(labs.runningPrograms()).toEqual([]);
    expect(await labs.must('down', '--all')).toBe('No lab is up.\n');
  });
});
