// SPDX-License-Identifier: BSD-3-Clause

import { spawnSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, type TestContext, test, vi } from 'vitest';
import { makeFakeTree } from '../../xfstests-runner/testing/fake-tree.ts';
import { BUILT_FILES, SOURCE_FILES } from '../../xfstests-runner/tree.ts';
import { makeToyKernel } from '../kernel/testing/toy-kernel.ts';
import { packageRoot } from '../paths.ts';
import { type OwnCliOptions, runOwnCli } from '../testing/own-cli.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { buildProgram } from './main.ts';

// Each call starts a Node of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

/** What the user reads on stderr when a command is refused; its exit code is 2 and stdout is empty. */
async function refusal(args: readonly string[], options: Partial<OwnCliOptions> = {}) {
  const directory = options.directory ?? (await scratchDirectory());
  const { code, stdout, stderr } = await runOwnCli(args, { ...options, directory });
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  return stderr;
}

/** Sentences of the last message, without the progress before it. */
const message = (stderr: string) => stderr.slice(stderr.indexOf('zufs-lab:')).trim();

test('--help names every command; each has its own, with its options and those of every command', async () => {
  const directory = await scratchDirectory();
  const { code, stdout } = await runOwnCli(['--help'], { directory });
  expect(code).toBe(0);
  const leaves = (command: Command): Command[] =>
    command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
  const program = buildProgram();
  for (const command of program.commands) {
    expect(stdout).toMatch(new RegExp(`^  ${command.name()}\\b`, 'm'));
    for (const leaf of leaves(command)) {
      const help = leaf.helpInformation();
      expect(help).toMatch(new RegExp(`^Usage: zufs-lab .*\\b${leaf.name()} `));
      expect(leaf.description(), leaf.name()).not.toBe('');
      for (const { long, description } of [...leaf.options, ...program.options]) {
        expect(help).toContain(long);
        expect(description, `${leaf.name()} ${long}`).not.toBe('');
      }
    }
  }
  const build = await runOwnCli(['kernel', 'build', '--help'], { directory });
  expect(build).toMatchObject({ code: 0, stderr: '' });
  expect(build.stdout).toMatch(/--flavour.*--json.*--verbose|--flavour.*--verbose.*--json/s);
});

test.each([
  [['status'], { name: 'default', state: 'down' }, 'default: down\n'],
  [['status', '--all'], { labs: [] }, 'No lab is up.\n'],
  [['down'], { labs: [{ name: 'default', ended: 0 }] }, "The lab 'default' is down; nothing was running.\n"],
  [['down', '--all'], { labs: [] }, 'No lab is up.\n'],
  [['cache', 'list'], [], /^0 B \(0 artefacts\) in /],
])('without a lab, %j says so to people and, with --json, to programs', async (args, data, text) => {
  const directory = await scratchDirectory();
  const runtime = ['--runtime', 'host'];
  const plain = await runOwnCli([...args, ...runtime], { directory });
  expect(plain).toMatchObject({ code: 0, stdout: expect.stringMatching(text), stderr: '' });
  const json = await runOwnCli([...args, ...runtime, '--json'], { directory });
  expect(JSON.parse(json.stdout)).toEqual(data);
});

test('labs that left their directories behind, many of them, are nothing to speak of', async () => {
  const directory = await scratchDirectory();
  for (let number = 1; number <= 12; number += 1)
    await mkdir(join(directory, 'state', 'zufs-lab', `lab-${number}`), { recursive: true });
  const ended = await runOwnCli(['down', '--all', '--runtime', 'host'], { directory });
  expect(ended).toEqual({ code: 0, stdout: 'No lab is up.\n', stderr: '' });
});

test.each([[['exec', '--', 'true']], [['console']], [['smoke']], [['logs']]])(
  'without a lab, %j is refused in one or two sentences',
  async (args) => {
    const said = await refusal(['--runtime', 'host', ...args]);
    expect(said).toMatch(
      /^zufs-lab: The lab 'default' (is not up\. Start it with: zufs-lab up|has left no log of zus\. .*)\n$/,
    );
  },
);

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
    const { stdout } = await runOwnCli(args, { directory });
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

describe('without rights', () => {
  /** How to start the command line as someone who may not use sudo, on a machine that lacks the package flex alone. */
  async function rightless(context: TestContext): Promise<OwnCliOptions> {
    const directory = await scratchDirectory();
    const bin = join(directory, 'bin');
    await mkdir(bin);
    const fake = (name: string, script: string) =>
      writeFile(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    await fake('sudo', 'exit 1');
    await fake(
      'dpkg-query',
      'shift 2; for name; do [ $name = flex ] || echo "$name installed"; done; exit 1',
    );
    // root gives up its name, and with it its rights, in a user namespace.
    const through = process.getuid?.() === 0 ? ['unshare', '--user'] : [];
    if (through.length > 0 && spawnSync('unshare', ['--user', 'true']).status !== 0)
      context.skip('root could not become another user here: no user namespaces');
    return { directory, through, env: { PATH: `${bin}:${process.env.PATH}` } };
  }

  test('to install what is missing: the command to run', async (context) => {
    const options = await rightless(context);
    await makeToyKernel(join(options.directory, 'linux'));
    const args = ['kernel', 'build', '--runtime', 'host', '--set', 'kernel.source=./linux'];
    expect(message(await refusal(args, options))).toBe(
      'zufs-lab: Missing for the tools for kernel-build: flex. Run: sudo apt-get install --no-install-recommends flex',
    );
  });

  test('to build the image, which takes root: the command to run', async (context) => {
    const options = await rightless(context);
    expect(message(await refusal(['image', 'build', '--runtime', 'host'], options))).toBe(
      "zufs-lab: The guest's image is built as root, and this user may not use sudo. " +
        `Run in ${packageRoot}: sudo npx zufs-lab image build --set cacheDir=${options.directory}/cache/zufs-lab`,
    );
  });
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

test.each([['xfstests'], ['run']])(
  'an xfstests tree that is not there, or is none: %s says so at once',
  async (command) => {
    const directory = await scratchDirectory();
    const args = (dir: string) => [command, '--runtime', 'host', '--set', `xfstests.dir=${dir}`];
    const hint =
      /Set xfstests\.dir to an xfstests tree \(built or not; or put one at .*\), or make https:\S+ reachable\.$/;
    const missing = message(await refusal(args('./nowhere'), { directory }));
    expect(missing).toMatch(
      new RegExp(`^zufs-lab: xfstests\\.dir \\(${directory}/nowhere\\) is not there\\. ${hint.source}`),
    );
    await mkdir(join(directory, 'other'));
    expect(message(await refusal(args('./other'), { directory }))).toMatch(
      /^zufs-lab: xfstests\.dir \(.*\/other\) is not an xfstests tree: it has no check\. Set /,
    );
  },
);

test('a test or a group that the tree does not have is refused before anything is built', async () => {
  const directory = await scratchDirectory();
  const tree = await makeFakeTree(join(directory, 'tree'), [...SOURCE_FILES, ...BUILT_FILES]);
  await writeFile(join(tree, 'tests/generic/group.list'), '001 auto quick\n');
  const args = (...more: string[]) => [
    'xfstests',
    '--runtime',
    'host',
    '--set',
    `xfstests.dir=${tree}`,
    ...more,
  ];
  expect(message(await refusal(args('--tests', 'generic/999'), { directory }))).toBe(
    "zufs-lab: This xfstests tree has no test 'generic/999'. Tests are named by directory and number, such as generic/001.",
  );
  expect(message(await refusal(args('--group', 'quik'), { directory }))).toBe(
    "zufs-lab: This xfstests tree has no group 'quik'. Usual ones are quick, auto, rw, metadata and stress.",
  );
});

test.each([
  [['--fs', 'zpmfs,ext5'], /no file system 'ext5'/],
  [['--fs', ','], /--kernel, --flavour and --fs take at least one name each\.$/],
  [['--flavour', 'release,fast'], /release, debug, or both with a comma between\.$/],
  [['--fs', 'zpmfs,tmpfs', '--repeat', '2'], /go with none of --repeat, --baseline, --save-baseline\. /],
  [['--fs', 'zpmfs,tmpfs', '--resume'], /--resume goes on with .* that were begun\. Leave these out\.$/],
])('several runs at a time: xfstests %j is refused before anything is built', async (args, reason) => {
  expect((await refusal(['xfstests', '--runtime', 'host', ...args])).trim()).toMatch(reason);
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
  const text = await runOwnCli(['doctor', '--runtime', 'docker'], { directory, env });
  expect(text.code).toBe(2);
  expect(text.stdout).toMatch(/^✖ container engine +No container engine answers/m);
  expect(text.stdout).toMatch(/→ .*systemctl start docker/);
  const json = await runOwnCli(['doctor', '--runtime', 'docker', '--json'], { directory, env });
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
