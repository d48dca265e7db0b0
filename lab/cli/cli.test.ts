// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { makeToyKernel } from '../kernel/testing/toy-kernel.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { runCli } from './testing/run-cli.ts';

// Each call starts a Node of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

/** What the user reads on stderr when a command is refused; its exit code is 2 and stdout is empty. */
async function refusal(
  args: readonly string[],
  options: { directory?: string; env?: Record<string, string> } = {},
) {
  const directory = options.directory ?? (await scratchDirectory());
  const { code, stdout, stderr } = await runCli(args, { ...options, directory });
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  return stderr;
}

/** Sentences of the last message, without the progress before it. */
const message = (stderr: string) => stderr.slice(stderr.indexOf('zufs-lab:')).trim();

test('--help names every command, and each has its own', async () => {
  const directory = await scratchDirectory();
  const { code, stdout } = await runCli(['--help'], { directory });
  expect(code).toBe(0);
  for (const name of ['doctor', 'kernel', 'config']) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
  const build = await runCli(['kernel', 'build', '--help'], { directory });
  expect(build.code).toBe(0);
  expect(build.stdout).toContain('--flavour');
  expect(build.stdout).toContain('--set');
});

test('what is no command or option is refused with exit code 2', async () => {
  expect(await refusal(['kernle'])).toContain('Did you mean kernel?');
  expect(await refusal(['kernel', 'build', '--flavor', 'debug'])).toContain('Did you mean --flavour?');
  expect(await refusal(['kernel', 'build', '--flavour', 'fast'])).toContain(
    'Allowed choices are release, debug.',
  );
  expect(await refusal(['--name', 'My Lab', 'config', 'show'])).toContain('Lower-case letters');
});

test('settings as JSON, with flags wherever they stand', async () => {
  const directory = await scratchDirectory();
  for (const args of [
    ['--set', 'vm.cpus=3', '--json', 'config', 'show'],
    ['config', 'show', '--json', '--set', 'vm.cpus=3'],
  ]) {
    const { stdout } = await runCli(args, { directory });
    expect(JSON.parse(stdout)).toMatchObject({ vm: { cpus: 3 } });
  }
});

test('an unknown key in the user’s file: one sentence with file, line and column', async () => {
  const directory = await scratchDirectory();
  await writeFile(join(directory, 'mine.yaml'), 'vm:\n  memroy: 4G\n');
  expect(await refusal(['config', 'show', '--config', 'mine.yaml'], { directory })).toBe(
    `zufs-lab: ${directory}/mine.yaml:2:3: vm.memroy is no setting; did you mean memory?\n`,
  );
});

test('an engine that does not answer', async () => {
  const env = { DOCKER_HOST: 'unix:///nonexistent/docker.sock' };
  expect(await refusal(['kernel', 'build', '--runtime', 'docker'], { env })).toBe(
    'zufs-lab: No container engine answers: unix:///nonexistent/docker.sock: not there. ' +
      'Start one (sudo systemctl start docker), or use --runtime host.\n',
  );
});

test('a kernel directory that is no kernel', async () => {
  const directory = await scratchDirectory();
  await mkdir(join(directory, 'linux'));
  const args = ['kernel', 'build', '--runtime', 'host', '--set', 'kernel.source=./linux'];
  expect(message(await refusal(args, { directory }))).toBe(
    `zufs-lab: kernel.source: ${directory}/linux is no Linux kernel tree: it has no Makefile.`,
  );
  await writeFile(join(directory, 'linux', 'Makefile'), 'all:\n');
  expect(message(await refusal(args, { directory }))).toContain(
    'its Makefile sets no VERSION and PATCHLEVEL.',
  );
});

test('a kernel source that does not exist', async () => {
  const args = ['kernel', 'build', '--runtime', 'host', '--set', 'kernel.source=/nonexistent'];
  expect(message(await refusal(args))).toBe(
    'zufs-lab: kernel.source: /nonexistent does not exist. It may be `debian`, a directory, a tarball, or a git URL with #ref.',
  );
});

test('a patch that does not apply, with its reject', async () => {
  const directory = await scratchDirectory();
  await makeToyKernel(join(directory, 'linux'));
  await writeFile(
    join(directory, 'fix.patch'),
    '--- a/toy.c\n+++ b/toy.c\n@@ -1,4 +1,4 @@\n int toy(void)\n {\n-\treturn 9;\n+\treturn 3;\n }\n',
  );
  const set = ['--set', 'kernel.source=./linux', '--set', 'kernel.patches=./fix.patch'];
  expect(message(await refusal(['kernel', 'build', '--runtime', 'host', ...set], { directory }))).toBe(
    `zufs-lab: The patch ${directory}/fix.patch does not apply: rejected in toy.c:\n` +
      '@@ -1,4 +1,4 @@\n int toy(void)\n {\n-\treturn 9;\n+\treturn 3;\n }',
  );
});

test('--verbose adds the causes', async () => {
  const directory = await scratchDirectory();
  await mkdir(join(directory, 'linux'));
  const args = ['kernel', 'build', '--runtime', 'host', '--set', 'kernel.source=./linux', '--verbose'];
  expect(await refusal(args, { directory })).toContain('  because: ENOENT');
});

test('doctor: a table for people, JSON for programs, exit code 2 when something is missing', async () => {
  const directory = await scratchDirectory();
  const env = { DOCKER_HOST: 'unix:///nonexistent/docker.sock' };
  const text = await runCli(['doctor', '--runtime', 'docker'], { directory, env });
  expect(text.code).toBe(2);
  expect(text.stdout).toMatch(/^✖ container engine +No container engine answers/m);
  expect(text.stdout).toMatch(/→ .*systemctl start docker/);
  const json = await runCli(['doctor', '--runtime', 'docker', '--json'], { directory, env });
  const { ok, checks } = JSON.parse(json.stdout) as {
    ok: boolean;
    checks: { name: string; status: string }[];
  };
  expect(ok).toBe(false);
  expect(checks.find(({ name }) => name === 'container engine')).toMatchObject({ status: 'missing' });
  expect(checks.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['disk', 'memory', 'accelerator', 'git', 'apt']),
  );
});
