// SPDX-License-Identifier: BSD-3-Clause

import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CommandFailedError, MissingPrerequisiteError } from '../errors.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { installPackages, missingPackages } from './apt.ts';
import { quietContext } from './testing/context.ts';
import { allPackages, packagesOf } from './tools.ts';

let bin: string;

/** A program of that name, before the real one on PATH. */
async function fake(name: string, script: string): Promise<void> {
  await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`);
  await chmod(join(bin, name), 0o755);
}

beforeEach(async () => {
  bin = await scratchDirectory();
  vi.stubEnv('PATH', `${bin}:/usr/bin:/bin`);
  // It knows gcc, and make as removed but not purged.
  await fake('dpkg-query', 'echo "gcc installed"; echo "make config-files"; exit 1');
});

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

test('what is installed is told from what is not, and from what only left its configuration', async () => {
  expect(await missingPackages(['gcc', 'make', 'flex'])).toEqual(['make', 'flex']);
});

test('nothing is run when nothing is missing', async () => {
  await fake('apt-get', 'exit 1');
  await installPackages(['gcc'], 'the tools', quietContext());
});

test('root installs, after one line that says what', async () => {
  vi.spyOn(process, 'getuid').mockReturnValue(0);
  await fake('apt-get', `echo "$DEBIAN_FRONTEND $*" >> ${bin}/calls`);
  const context = quietContext();
  await installPackages(['gcc', 'flex'], 'the tools', context);
  expect(context.notes).toEqual(['Installing Debian packages for the tools: flex']);
  expect(await readFile(join(bin, 'calls'), 'utf8')).toMatch(
    /^noninteractive .*install --yes --no-install-recommends flex\n$/,
  );
});

test('a user with sudo installs through it, and is told so', async () => {
  vi.spyOn(process, 'getuid').mockReturnValue(1000);
  await fake('sudo', 'shift; exec "$@"');
  await fake('apt-get', `echo "$*" >> ${bin}/calls`);
  const context = quietContext();
  await installPackages(['flex'], 'the tools', context);
  expect(context.notes).toEqual(['Installing Debian packages with sudo for the tools: flex']);
  expect(await readFile(join(bin, 'calls'), 'utf8')).toContain('install');
});

test('a user without rights gets the command to run', async () => {
  vi.spyOn(process, 'getuid').mockReturnValue(1000);
  await fake('sudo', 'echo "sorry" >&2; exit 1');
  const error = await installPackages(['flex', 'bison'], 'the tools', quietContext()).catch(
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(MissingPrerequisiteError);
  expect(error).toMatchObject({
    message: 'Missing for the tools: flex, bison.',
    hint: 'Run: sudo apt-get install --no-install-recommends flex bison',
    exitCode: 2,
  });
});

test('old package lists are brought up to date before giving up', async () => {
  vi.spyOn(process, 'getuid').mockReturnValue(0);
  await fake(
    'apt-get',
    `echo "$*" >> ${bin}/calls; case "$*" in *update*) touch ${bin}/updated;; *) test -e ${bin}/updated;; esac`,
  );
  await installPackages(['flex'], 'the tools', quietContext());
  expect((await readFile(join(bin, 'calls'), 'utf8')).trim().split('\n').length).toBe(3);
});

test('packages that cannot be installed are an error with the last lines of apt', async () => {
  vi.spyOn(process, 'getuid').mockReturnValue(0);
  await fake('apt-get', 'echo "E: Unable to locate package flex"; exit 100');
  const error = await installPackages(['flex'], 'the tools', quietContext()).catch(
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CommandFailedError);
  expect(error).toMatchObject({ commandExitCode: 100, outputTail: 'E: Unable to locate package flex' });
});

test('every tool set has packages, and the builder image has them all once', () => {
  expect(packagesOf('kernel-build')).toContain('ccache');
  expect(allPackages()).toEqual([...new Set(allPackages())].sort());
  expect(allPackages()).toEqual(
    expect.arrayContaining(['mmdebstrap', 'qemu-system-x86', 'flex', 'libtool-bin']),
  );
});
