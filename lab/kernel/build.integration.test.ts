// SPDX-License-Identifier: BSD-3-Clause

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { hashFiles } from '../hash-files.ts';
import { DockerRuntime } from '../runtime/docker.ts';
import { HostRuntime } from '../runtime/host.ts';
import { membersOf } from '../runtime/process-group.ts';
import { quietContext } from '../runtime/testing/context.ts';
import type { TestEngine } from '../runtime/testing/engine.ts';
import { useTestEngine } from '../runtime/testing/use-engine.ts';
import type { Cli } from '../testing/cli.ts';
import { runOwnCli, startOwnCli } from '../testing/own-cli.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import type { Kernel } from './build.ts';
import { installedLinuxSource } from './debian-source.ts';
import { slowGitServer } from './testing/slow-git-server.ts';
import { makeToyKernel } from './testing/toy-kernel.ts';

const fileEngine = useTestEngine();

// A toy in place of the kernel: the lab, make, the compiler and the engine are real, a build takes a second.
describe.each(['host', 'docker'] as const)('on %s', (kind) => {
  let engine: TestEngine | undefined;
  let directory: string;
  let linux: string;

  beforeEach(async (context) => {
    engine = kind === 'docker' ? fileEngine.orSkip(context) : undefined;
    directory = await scratchDirectory();
    linux = join(directory, 'linux');
    await makeToyKernel(linux);
    // Installs the tools, or makes the image, before anything is timed or interrupted.
    await using host = new HostRuntime('prepare', join(directory, 'state', 'zufs-lab'));
    if (engine === undefined) await host.prepare('kernel-build', quietContext());
    else {
      const cacheRoot = join(directory, 'cache');
      await new DockerRuntime({ lab: 'prepare', engine: engine.engine, host, cacheRoot }).prepare(
        'kernel-build',
        quietContext(),
      );
    }
  });

  const args = (...more: string[]) => [
    'kernel',
    'build',
    '--runtime',
    kind,
    '--set',
    `kernel.source=${linux}`,
    ...more,
  ];
  const environment = () => ({ directory, env: engine === undefined ? {} : { DOCKER_HOST: engine.address } });
  const cache = (...names: string[]) => join(directory, 'cache', 'zufs-lab', ...names);

  async function build(...more: string[]): Promise<Kernel> {
    const { code, stdout, stderr } = await runOwnCli(args('--json', ...more), environment());
    if (code !== 0) throw new Error(`exit code ${code}:\n${stderr}`);
    return JSON.parse(stdout) as Kernel;
  }

  async function refusal(...more: string[]): Promise<string> {
    const { code, stdout, stderr } = await runOwnCli(args(...more), environment());
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    return stderr.slice(stderr.indexOf('zufs-lab:')).trim();
  }

  /** Nothing of this test runs any more, and the cache holds no half-made artefact. */
  async function expectNothingLeft(): Promise<void> {
    expect(await readdir(cache('tmp')).catch(() => [])).toEqual([]);
    expect(
      await readdir(join(directory, 'state', 'zufs-lab', 'default', 'processes')).catch(() => []),
    ).toEqual([]);
    expect(await programsIn(linux)).toEqual([]);
    if (engine === undefined) return;
    // The engine goes on removing a container that zufs-lab has left behind in a hurry.
    const label = ['zufs-lab.lab=default'];
    const { docker } = engine.engine;
    await vi.waitUntil(
      async () => (await docker.listContainers({ all: true, filters: { label } })).length === 0,
      10_000,
    );
  }

  async function compiling(): Promise<Cli> {
    await writeFile(join(linux, 'sleep.txt'), '600\n');
    const cli = startOwnCli(args('--verbose'), environment());
    await cli.says(/CC {6}toy\.o/);
    return cli;
  }

  async function endsInterrupted(cli: Cli): Promise<void> {
    cli.process.kill('SIGINT');
    const { code, stderr } = await cli.end();
    expect(stderr).toContain('zufs-lab: Interrupted.');
    expect(code).toBe(130);
    await expectNothingLeft();
  }

  test('a kernel is built once, and found the second time', async () => {
    const first = await build();
    expect(first).toMatchObject({ hit: false, release: '6.12.7-toy', flavour: 'release' });
    expect((await stat(first.bzImage)).size).toBeGreaterThan(0);
    expect(await readFile(first.systemMap, 'utf8')).toContain(' T toy');
    expect(await readFile(first.config, 'utf8')).toContain('CONFIG_FS_DAX=y');
    expect(await readFile(first.buildLog, 'utf8')).toContain('LD      vmlinux');
    const second = await build();
    expect(second).toMatchObject({ hit: true, key: first.key });
    expect(await build('--flavour', 'debug')).toMatchObject({ hit: false, flavour: 'debug' });
    await expectNothingLeft();
  });

  test('after a change only what depends on it is compiled, and the user’s tree stays as it was', async () => {
    const before = await hashFiles([linux]);
    await build();
    expect(await hashFiles([linux])).toBe(before);
    await writeFile(join(linux, 'toy.c'), 'int changed(void)\n{\n\treturn 1;\n}\n');
    const { buildLog, systemMap, hit } = await build();
    expect(hit).toBe(false);
    expect((await readFile(buildLog, 'utf8')).match(/CC +\S+/g)).toEqual(['CC      toy.o']);
    expect(await readFile(systemMap, 'utf8')).toContain(' T changed');
  });

  test('a patch of the user is built in, and out again', async () => {
    const patch = join(directory, 'fix.patch');
    await writeFile(
      patch,
      '--- a/toy.c\n+++ b/toy.c\n@@ -1,2 +1,2 @@\n-int toy(void)\n+int fixed(void)\n {\n',
    );
    const plain = await build();
    const fixed = await build('--set', `kernel.patches=${patch}`);
    expect(await readFile(fixed.systemMap, 'utf8')).toContain(' T fixed');
    expect(await build()).toMatchObject({ hit: true, key: plain.key });
    await writeFile(join(linux, 'other.c'), 'int another(void)\n{\n\treturn 2;\n}\n');
    expect(await readFile((await build()).systemMap, 'utf8')).toContain(' T toy');
  });

  test('an option that did not survive is named with its fragment', async () => {
    const fragment = join(directory, 'mine.config');
    await writeFile(fragment, 'CONFIG_TOY_DROPPED=y\n');
    expect(await refusal('--set', `kernel.fragments=${fragment}`)).toBe(
      `zufs-lab: CONFIG_TOY_DROPPED=y, asked for by ${fragment}, did not survive: the result has n. ` +
        'It does not exist in this kernel, or a dependency of it is not set.',
    );
    await expectNothingLeft();
  });

  test('a compile error is told by its first line, with the log kept', async () => {
    await writeFile(join(linux, 'toy.c'), 'int toy(void) { return }\n');
    const said = await refusal();
    expect(said).toMatch(
      /^zufs-lab: The kernel does not build: toy\.c:1:.*error: expected expression.*All of it is in /,
    );
    expect(await readFile(said.slice(said.lastIndexOf(' /') + 1, -1), 'utf8')).toContain('CC      toy.o');
    await expectNothingLeft();
    await makeToyKernel(linux);
    expect(await build()).toMatchObject({ hit: false });
  });

  test('Ctrl-C: exit code 130, nothing left running, and the next build works', async () => {
    await endsInterrupted(await compiling());
    await writeFile(join(linux, 'sleep.txt'), '0\n');
    expect(await build()).toMatchObject({ hit: false });
  });

  test('Ctrl-C while Debian’s source is fetched: exit code 130, and nothing left', async (context) => {
    if (await installedLinuxSource('6.12'))
      context.skip('linux-source-6.12 is installed: nothing is fetched');
    const cli = startOwnCli(['kernel', 'build', '--runtime', kind], environment());
    await vi.waitUntil(
      async () => (await programsIn(cache('tmp'))).some((line) => line.includes('apt-get')),
      {
        timeout: 60_000,
        interval: 50,
      },
    );
    await endsInterrupted(cli);
    expect(await programsIn(cache('tmp'))).toEqual([]);
    expect(await readdir(cache('kernel-source'))).toEqual([]);
  });

  test('Ctrl-C while a kernel is fetched with git: exit code 130, and the next build fetches it', async () => {
    await using server = await slowGitServer(linux);
    const fromGit = ['kernel', 'build', '--runtime', kind, '--set', `kernel.source=${server.url}#main`];
    const cli = startOwnCli(fromGit, environment());
    await server.asked();
    await endsInterrupted(cli);
    expect(await programsIn(server.url)).toEqual([]);
    server.answer();
    expect(await runOwnCli(fromGit, environment())).toMatchObject({ code: 0 });
  });

  test('a second Ctrl-C leaves at once, and ends the programs all the same', async () => {
    const cli = await compiling();
    cli.process.kill('SIGINT');
    await sleep(600);
    cli.process.kill('SIGINT');
    expect((await cli.end()).code).toBe(130);
    await writeFile(join(linux, 'sleep.txt'), '0\n');
    expect(await build()).toMatchObject({ hit: false });
    await expectNothingLeft();
  });

  test('after kill -9 the next command ends what was left, and builds', async () => {
    const cli = await compiling();
    const { pid } = cli.process;
    cli.process.kill('SIGKILL');
    await once(cli.process, 'exit');
    expect(membersOf(pid as number)).toEqual([]);
    await writeFile(join(linux, 'sleep.txt'), '0\n');
    expect(await build()).toMatchObject({ hit: false });
    await expectNothingLeft();
  });

  test('a disk that fills up in mid-build is told as such, and the next build works', async () => {
    const makefile = await readFile(join(linux, 'Makefile'), 'utf8');
    await writeFile(join(linux, 'Makefile'), `${makefile}$(O)/toy.o: toy.c\n\t@cat toy.c > /dev/full\n`);
    expect(await refusal()).toBe(
      `zufs-lab: No disk space: ${cache()} filled up while building. ` +
        'Free some, or set cacheDir to a larger disk; what was half done has been removed.',
    );
    await expectNothingLeft();
    await writeFile(join(linux, 'Makefile'), makefile);
    expect(await build()).toMatchObject({ hit: false });
  });

  test('no disk space: one sentence, nothing left, and the cache works once there is room', async (context) => {
    if (process.getuid?.() !== 0) context.skip('a small file system can be mounted by root alone');
    const small = join(directory, 'small');
    await mkdir(small);
    await promisify(execFile)('mount', ['-t', 'tmpfs', '-o', 'size=16M', 'tmpfs', small]);
    onTestFinished(async () => {
      await promisify(execFile)('umount', [small]);
    });
    const said = await refusal('--set', `cacheDir=${small}`);
    expect(said).toMatch(
      /^zufs-lab: No disk space: a kernel build needs \d GiB in .*\/small\/kernel-work\/.*, which has [\d.]+ MiB left\. Free some, or set cacheDir to a larger disk\.$/,
    );
    expect(await readdir(join(small, 'tmp'))).toEqual([]);
    const image = await runOwnCli(['image', 'build', '--set', `cacheDir=${small}`], environment());
    expect(image.code).toBe(2);
    expect(image.stderr).toMatch(/^zufs-lab: No disk space: the image needs 2 GiB in .*\/small, which has /m);
    const whole = ['run', '--runtime', kind, '--set', `cacheDir=${small}`];
    const { code, stderr } = await runOwnCli(whole, environment());
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^zufs-lab: Not enough disk: [\d.]+ MiB free in .*\/small, 8 GiB needed from empty caches\. What mends it: a larger disk/m,
    );
    await promisify(execFile)('mount', ['-o', 'remount,size=8G', small]);
    expect(await build('--set', `cacheDir=${small}`)).toMatchObject({ hit: false });
  });
});

/** Programs that stand in, or were called with, a directory. */
async function programsIn(directory: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-eo', 'pid=,args=']);
  return stdout.split('\n').filter((line) => line.includes(directory));
}
