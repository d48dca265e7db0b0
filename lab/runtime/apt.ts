// SPDX-License-Identifier: BSD-3-Clause

import { access } from 'node:fs/promises';
import { execa } from 'execa';
import { CommandFailedError, InterruptedError, MissingPrerequisiteError } from '../errors.ts';
import { OutputCollector } from './output.ts';
import type { TaskContext } from './runtime.ts';

// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query fills these in.
const packageAndStatus = '${Package} ${db:Status-Status}\n';

/** Those of `packages` that are not installed. Empty where there is no dpkg: then the programs themselves have to tell. */
export async function missingPackages(packages: readonly string[]): Promise<string[]> {
  const result = await execa('dpkg-query', ['--show', '--showformat', packageAndStatus, ...packages], {
    reject: false,
    stdin: 'ignore',
  });
  if (result.code === 'ENOENT') {
    throw new MissingPrerequisiteError(
      'This machine has no dpkg, so the lab cannot install its tools on it.',
      {
        hint: 'Use a container engine (--runtime docker).',
      },
    );
  }
  const installed = new Set(
    String(result.stdout)
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  );
  return packages.filter((name) => !installed.has(name));
}

/** The command that installs `packages`, as a user would type it. */
export function installCommand(packages: readonly string[]): string {
  return `sudo apt-get install --no-install-recommends ${packages.join(' ')}`;
}

/**
 * Install what is missing of `packages`, as root or through sudo, after one announcing line. Without the right to:
 * `MissingPrerequisiteError` with the command.
 */
export async function installPackages(
  packages: readonly string[],
  what: string,
  context: TaskContext,
): Promise<void> {
  const missing = await missingPackages(packages);
  if (missing.length === 0) return;
  const root = await rootAccess();
  if (root === undefined) {
    throw new MissingPrerequisiteError(`Missing for ${what}: ${missing.join(', ')}.`, {
      hint: `Run: ${installCommand(missing)}`,
    });
  }
  const { prefix } = root;
  const through = prefix.length === 0 ? '' : ' with sudo';
  context.progress.note(`Installing Debian packages${through} for ${what}: ${missing.join(' ')}`);
  const install = [
    'apt-get',
    '-o',
    'DPkg::Lock::Timeout=300',
    'install',
    '--yes',
    '--no-install-recommends',
    ...missing,
  ];
  const environment = ['env', 'DEBIAN_FRONTEND=noninteractive', 'LC_ALL=C'];
  const first = await run([...prefix, ...environment, ...install], context);
  if (first.exitCode === 0) return;
  // Package lists that are missing or old name versions that the archive no longer has.
  const update = await run([...prefix, ...environment, 'apt-get', 'update'], context);
  const second = update.exitCode === 0 ? await run([...prefix, ...environment, ...install], context) : update;
  if (second.exitCode === 0) return;
  throw new CommandFailedError(`Debian packages for ${what} could not be installed.`, {
    command: install,
    exitCode: second.exitCode,
    outputTail: second.tail,
    hint: `See what apt says: ${installCommand(missing)}`,
  });
}

async function run(
  command: readonly string[],
  context: TaskContext,
): Promise<{ readonly exitCode: number | null; readonly tail: string }> {
  const output = new OutputCollector({ progress: context.progress });
  // dpkg in mid-installation is not cut off: Ctrl-C takes effect when this command is through.
  const child = execa(command[0], command.slice(1), { reject: false, buffer: false, stdin: 'inherit' });
  child.stdout.on('data', (chunk: Buffer) => output.write('stdout', chunk));
  child.stderr.on('data', (chunk: Buffer) => output.write('stderr', chunk));
  const { exitCode } = await child;
  const { tail } = await output.finish();
  if (context.signal.aborted) throw new InterruptedError();
  return { exitCode: exitCode ?? null, tail };
}

export interface RootAccess {
  /** What to put before a command to have it run as root: nothing, or sudo. */
  readonly prefix: readonly string[];
  /** Whether such a command may stop to ask for a password. */
  readonly mayAsk: boolean;
}

/** How this user gets a command run as root; undefined without the right. */
export async function rootAccess(): Promise<RootAccess | undefined> {
  if (process.getuid?.() === 0) return { prefix: [], mayAsk: false };
  const withoutPassword = await execa('sudo', ['-n', 'true'], { reject: false, stdin: 'ignore' });
  if (withoutPassword.exitCode === 0) return { prefix: ['sudo', '-n'], mayAsk: false };
  // sudo may ask, if someone is there to answer.
  if (withoutPassword.code === 'ENOENT' || !process.stdin.isTTY) return undefined;
  const mayAtAll = await execa('sudo', ['-nv'], { reject: false, stdin: 'ignore' });
  const never = /not allowed|may not run|not in the sudoers/.test(String(mayAtAll.stderr));
  return never ? undefined : { prefix: ['sudo'], mayAsk: true };
}

/** Files that say where apt gets its packages from on this machine. */
export async function aptSourceFiles(listDirectory: () => Promise<string[]>): Promise<string[]> {
  const files = [
    '/etc/apt/sources.list',
    ...(await listDirectory()).map((name) => `/etc/apt/sources.list.d/${name}`),
  ];
  const readable = await Promise.all(
    files
      .filter((file) => /\.(list|sources)$/.test(file))
      .map((file) =>
        access(file).then(
          () => [file],
          () => [],
        ),
      ),
  );
  return readable.flat();
}
