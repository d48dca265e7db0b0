// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cli, type CliResult, runCli } from './cli.ts';
import { testLabsVariable } from './test-run.ts';

/**
 * Labs of a test, driven through the command line as a user would. Their state lies in a directory of its own, so that they
 * and the user's labs do not see each other; the cache is the user's, so that kernel and image are built once.
 */
export class TestLabs implements AsyncDisposable {
  readonly stateRoot: string;
  readonly env: NodeJS.ProcessEnv;

  private constructor(stateHome: string, env: NodeJS.ProcessEnv) {
    this.stateRoot = join(stateHome, 'zufs-lab');
    this.env = { ...process.env, ...env, XDG_STATE_HOME: stateHome, NO_COLOR: '1' };
  }

  /** `env` goes on top of this process's own, for every command. */
  static async create(env: NodeJS.ProcessEnv = {}): Promise<TestLabs> {
    // Short: below it are sockets, whose paths have 107 bytes at most.
    const directory = process.env[testLabsVariable] ?? tmpdir();
    return new TestLabs(await realpath(await mkdtemp(join(directory, 'x-'))), env);
  }

  /** Run a command to its end. */
  async run(...args: string[]): Promise<CliResult> {
    return await runCli(args, { env: this.env });
  }

  /** Run a command that has to succeed, and give what it prints. */
  async must(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    if (code !== 0) throw new Error(`zufs-lab ${args.join(' ')} gave exit code ${code}:\n${stderr}`);
    return stdout.toString();
  }

  /** Make kernel and image, which takes longer than a test may where the cache has none. */
  async build(): Promise<void> {
    await this.must('kernel', 'build');
    await this.must('image', 'build');
  }

  start(...args: string[]): Cli {
    return new Cli(args, { env: this.env });
  }

  /** Command lines of QEMUs that run for these labs, on the host or in a container. */
  runningPrograms(): string[] {
    const listing = execFileSync('ps', ['-eo', 'pid,args'], { encoding: 'utf8' });
    return listing
      .split('\n')
      .filter((line) => line.includes(this.stateRoot) && line.includes('qemu-system'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run('down', '--all');
    await rm(join(this.stateRoot, '..'), { recursive: true, force: true });
  }
}

/** Settings of the smallest guest that boots: for what goes wrong before anything is mounted. */
export const tinyGuest: readonly string[] = [
  'vm.cpus=1',
  'vm.nodes=1',
  'vm.memory=512M',
  'vm.pmemPerNode=1',
  'vm.pmemSize=64M',
].flatMap((setting) => ['--set', setting]);
