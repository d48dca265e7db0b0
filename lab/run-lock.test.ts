// SPDX-License-Identifier: BSD-3-Clause

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { LabError } from './errors.ts';
import { ensureVm } from './lifecycle.ts';
import { endRun, LabTakenError, requireNoRun, runHolder, takeRun, withRunLock } from './run-lock.ts';
import { HostRuntime } from './runtime/host.ts';
import { labelOfLab, labelOfRole } from './runtime/labels.ts';
import { quietContext } from './runtime/testing/context.ts';
import { fakeContext } from './testing/fake-context.ts';
import { runOwnCli } from './testing/own-cli.ts';
import { scratchDirectory } from './testing/scratch.ts';
import type { BootArtefacts } from './vm/boot.ts';

// Each call of the command line starts a Node of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const noArtefacts: BootArtefacts = {
  kernel: { key: 'k', flavour: 'release', bzImage: '/nonexistent' },
  image: { key: 'i', disk: '/nonexistent', hostKey: '', hit: true },
};

const wasEnded = "The lab 'default' was ended (zufs-lab down).";

const runLock = JSON.stringify(join(import.meta.dirname, 'run-lock.ts'));

/** One that runs this module, and has said something. */
async function anotherProcess(module: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', module], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child;
}

function labIn(root: string, name = 'default') {
  return { ...quietContext(), name, stateDir: join(root, name) };
}

test('a second run in the same lab is refused at once, with who has it; in another lab it is not', async () => {
  const root = await scratchDirectory();
  const argv = vi.spyOn(process, 'argv', 'get').mockReturnValue(['node', 'zufs-lab', 'xfstests', '--build']);
  onTestFinished(() => argv.mockRestore());
  const result = await withRunLock([labIn(root)], async () => {
    const second = withRunLock([labIn(root)], () => Promise.reject(new Error('it ran')));
    await expect(second).rejects.toThrow(LabTakenError);
    await expect(second).rejects.toThrow(
      `The lab 'default' is taken by another run: process ${process.pid} (zufs-lab xfstests --build).`,
    );
    await expect(requireNoRun(labIn(root))).rejects.toThrow(LabTakenError);
    return await withRunLock([labIn(root, 'other')], async () => 'ran');
  });
  expect(result).toBe('ran');
});

test('a run that has ended, however it did, is in nobody’s way', async () => {
  const root = await scratchDirectory();
  const failed = withRunLock([labIn(root)], () => Promise.reject(new LabError('The VM was lost.')));
  await expect(failed).rejects.toThrow('The VM was lost.');
  await requireNoRun(labIn(root));
  expect(await withRunLock([labIn(root)], async () => 'ran')).toBe('ran');
});

test('a run takes all of its labs, or none', async () => {
  const root = await scratchDirectory();
  const labs = [labIn(root), labIn(root, 'default-2')];
  await withRunLock([labs[1]], async () => {
    await expect(withRunLock(labs, async () => undefined)).rejects.toThrow("The lab 'default-2' is taken");
    expect(await runHolder(labs[0].stateDir)).toBeUndefined();
  });
});

test('a run that was killed outright lets in the next one once its lock has lapsed', async () => {
  const root = await scratchDirectory();
  const lab = labIn(root);
  const killed = await anotherProcess(`
    import { withRunLock } from ${runLock};
    const progress = { note: () => undefined };
    const lab = { name: 'default', stateDir: ${JSON.stringify(lab.stateDir)}, signal: new AbortController().signal, progress };
    await withRunLock([lab], async () => {
      console.log('has it');
      await new Promise((resolve) => setTimeout(resolve, 600_000));
    });
  `);
  expect(await runHolder(lab.stateDir)).toMatchObject({ pid: killed.pid });
  killed.kill('SIGKILL');
  await once(killed, 'close');
  await requireNoRun(lab);
  const next = withRunLock([lab], async () => 'ran');
  await vi.waitUntil(() => lab.notes.length > 0, 20_000);
  expect(lab.notes).toEqual([
    expect.stringMatching(`^The run that had the lab 'default' was killed, process ${killed.pid} `),
  ]);
  const longAgo = new Date(Date.now() - 60_000);
  await utimes(join(lab.stateDir, 'run.lock'), longAgo, longAgo);
  expect(await next).toBe('ran');
});

test('the directory of a run is with the process that is at work on it, until that one ends', async () => {
  const directory = await scratchDirectory();
  const other = await anotherProcess(`
    import { takeRun } from ${runLock};
    await takeRun(${JSON.stringify(directory)});
    console.log('has it');
    setTimeout(() => undefined, 600_000);
  `);
  await expect(takeRun(directory)).rejects.toThrow(`is still under way in process ${other.pid} (`);
  other.kill('SIGKILL');
  await once(other, 'close');
  await takeRun(directory);
  expect(await runHolder(directory)).toMatchObject({ pid: process.pid });
  // Nor is it in its own way.
  await takeRun(directory);
});

test('down ends the lab under a run, says so, and the run does not boot another VM', async () => {
  const directory = await scratchDirectory();
  const stateRoot = join(directory, 'state', 'zufs-lab');
  const lab = labIn(stateRoot);
  const run = { ...fakeContext(directory), name: lab.name, stateDir: lab.stateDir };
  const ended = withRunLock([lab], async () => {
    await using runtime = new HostRuntime(lab.name, stateRoot);
    const labels = { [labelOfLab]: lab.name, [labelOfRole]: 'vm' };
    await runtime.start(['sleep', '600'], { cwd: '/', labels, tools: 'vm', logFile: '/dev/null' });
    const { code, stdout, stderr } = await runOwnCli(['--runtime', 'host', 'down'], { directory });
    expect(stdout).toBe("The lab 'default' is down (1 ended).\n");
    expect(stderr).toMatch(`A run has lost the lab 'default': process ${process.pid} (`);
    expect(code).toBe(0);
    await expect(ensureVm(run, noArtefacts)).rejects.toThrow(wasEnded);
  });
  await expect(ended).rejects.toThrow(wasEnded);
});

test('a run whose lab was ended under it gives no verdict, whatever it made of that', async () => {
  const lab = labIn(await scratchDirectory());
  const run = withRunLock([lab], async () => {
    await endRun(lab.stateDir);
    return 'a test crashed';
  });
  await expect(run).rejects.toThrow(wasEnded);
  expect(await withRunLock([lab], async () => 'ran')).toBe('ran');
});

// Without a kernel and a tree, so that what is not refused ends soon as well.
const nothingToRun = ['--set', 'kernel.source=/nonexistent', '--set', 'xfstests.dir=/nonexistent'];

test.each([
  ['default', ['xfstests']],
  ['default-2', ['xfstests', '--shards', '2']],
  ['default', ['run']],
  ['default', ['smoke']],
  ['default', ['up']],
  ['default-workloads', ['workloads', '--short']],
  ['default-bench', ['bench']],
  ['default-bench', ['bench', '--repeat', '2']],
])('while a run has the lab %s, `zufs-lab %j` is refused in one or two sentences', async (name, words) => {
  const directory = await scratchDirectory();
  const lab = labIn(join(directory, 'state', 'zufs-lab'), name);
  const { code, stderr } = await withRunLock([lab], () =>
    runOwnCli(['--runtime', 'host', ...nothingToRun, ...words], { directory }),
  );
  expect(stderr).toMatch(
    new RegExp(
      `^zufs-lab: The lab '${name}' is taken by another run: process ${process.pid} \\(.*\\)\\. ` +
        'Wait for its end, or take another lab: --name other\\.\\n$',
    ),
  );
  expect(code).toBe(2);
});
