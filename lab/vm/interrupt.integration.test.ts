// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { makeFakeTree } from '../../xfstests-runner/testing/fake-tree.ts';
import { SOURCE_FILES } from '../../xfstests-runner/tree.ts';
import { defaultCacheRoot } from '../paths.ts';
import type { Cli } from '../testing/cli.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { TestLabs, tinyGuest } from '../testing/test-lab.ts';

let labs: TestLabs;
beforeAll(async () => {
  labs = await TestLabs.create();
  // What the phases below need from the cache, so that each test meets the phase it is about.
  await labs.build();
});
afterAll(() => labs[Symbol.asyncDispose]());

/** Nothing runs, and no artefact is half there. */
function expectNothingLeft(cacheRoot: string): void {
  expect(labs.runningPrograms()).toEqual([]);
  for (const kind of readdirSync(cacheRoot, { withFileTypes: true })) {
    const entries = kind.isDirectory() ? readdirSync(join(cacheRoot, kind.name)) : [];
    expect(entries.filter((name) => /\.(building|root|lock)$/.test(name))).toEqual([]);
  }
}

/** Waits for a sign of the phase: plain output tells only of what has ended, so it is looked for among the processes. */
const until = (sign: () => boolean) => vi.waitUntil(sign, { timeout: 60_000, interval: 50 });

const qemuRuns = (): boolean => labs.runningPrograms().length > 0;
const mmdebstrapRuns = (): boolean =>
  execFileSync('ps', ['-eo', 'comm'], { encoding: 'utf8' }).split('\n').includes('mmdebstrap');

describe('Ctrl-C ends the command with 130, and all that it started', () => {
  test.each<[string, string[], () => boolean]>([
    // A package and a size that nothing else asks for: the phase is then not skipped for a cached artefact.
    [
      'while packages are installed in the image',
      ['image', 'build', '--set', 'image.packages=hello'],
      mmdebstrapRuns,
    ],
    ['while namespaces are made', ['up', '--no-server', ...tinyGuest, '--set', 'vm.pmemSize=192M'], qemuRuns],
    ['while the guest boots', ['up', '--no-server', ...tinyGuest], qemuRuns],
  ])('%s', async (_phase, command, sign) => {
    const cli = labs.start(...command, '--name', 'interrupted');
    await until(sign);
    await endsInterrupted(cli);
  });

  test('while an xfstests tree is built', async () => {
    const tree = await makeFakeTree(await scratchDirectory(), SOURCE_FILES);
    const takesLong = 'sleep 4322';
    await writeFile(join(tree, 'Makefile'), `default:\n\t${takesLong}\n`);
    const builds = (): boolean =>
      execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).split('\n').includes(takesLong);
    const cli = labs.start('xfstests', '--set', `xfstests.dir=${tree}`, '--name', 'interrupted');
    await until(builds);
    await endsInterrupted(cli);
    expect(builds()).toBe(false);
  });

  test.each([
    ['while the server is brought up', /✔ VM/],
    ['while file systems are made and mounted', /✔ Server/],
  ])('%s', async (_phase, before) => {
    const cli = labs.start('up', '--name', 'interrupted');
    await cli.says(before);
    await endsInterrupted(cli);
  });
});

async function endsInterrupted(cli: Cli): Promise<void> {
  cli.process.kill('SIGINT');
  const { code, stderr } = await cli.end();
  expect(stderr).toMatch(/Interrupted/);
  expect(code).toBe(130);
  expectNothingLeft(defaultCacheRoot(process.env));
}

describe('a zufs-lab that is killed outright', () => {
  test('leaves a VM that down finds, while booting', async () => {
    const cli = labs.start('up', '--no-server', '--name', 'killed', ...tinyGuest);
    await until(qemuRuns);
    cli.process.kill('SIGKILL');
    await cli.end();
    expect(labs.runningPrograms()).toHaveLength(1);
    expect(await labs.must('down', '--name', 'killed')).toMatch(/is down \(1 ended\)/);
    expect(labs.runningPrograms()).toEqual([]);
  });

  test('is no trouble to the next up, and down --all ends every lab', async () => {
    const cli = labs.start('up', '--no-server', '--name', 'killed', ...tinyGuest);
    await until(qemuRuns);
    cli.process.kill('SIGKILL');
    await cli.end();
    await labs.must('up', '--no-server', '--name', 'killed', ...tinyGuest);
    expect(labs.runningPrograms()).toHaveLength(1);
    await labs.must('down', '--all');
    expect(labs.runningPrograms()).toEqual([]);
    expect(await labs.must('down', '--all')).toBe('No lab is up.\n');
  });
});
