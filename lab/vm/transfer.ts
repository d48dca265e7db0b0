// SPDX-License-Identifier: BSD-3-Clause

import { createReadStream } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { basename, dirname, posix } from 'node:path';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { execa } from 'execa';
import { CommandFailedError, LabError } from '../errors.ts';
import { lastLines } from './console.ts';
import type { SshConnection } from './ssh.ts';

/**
 * Copies between host and guest go through tar on both sides, which keeps modes, links, holes and odd names. Owners are
 * not kept: what arrives belongs to whoever unpacks it.
 */
const unpack = ['--no-same-owner', '--sparse', '-xf', '-'] as const;
const pack = ['--sparse', '-cf', '-'] as const;

/** A file lands at `guestPath`; a directory's content in `guestPath`, which is made if needed. */
export async function upload(
  ssh: SshConnection,
  hostPath: string,
  guestPath: string,
  signal: AbortSignal,
): Promise<void> {
  const status = await stat(hostPath).catch((error: unknown) => {
    throw new LabError(`${hostPath} cannot be copied to the guest.`, { cause: error });
  });
  if (status.isDirectory()) {
    await run(ssh, ['mkdir', '-p', guestPath], signal);
    await packTree(hostPath, signal, (packed) =>
      run(ssh, ['tar', '-C', guestPath, ...unpack], signal, packed),
    );
  } else {
    await run(ssh, ['mkdir', '-p', posix.dirname(guestPath)], signal);
    await run(ssh, ['dd', `of=${guestPath}`, 'bs=1M', 'status=none'], signal, createReadStream(hostPath));
    await run(ssh, ['chmod', (status.mode & 0o7777).toString(8), guestPath], signal);
  }
}

/** The other way round, with the same rules. */
export async function download(
  ssh: SshConnection,
  guestPath: string,
  hostPath: string,
  signal: AbortSignal,
): Promise<void> {
  const directory = (await ssh.exec(['test', '-d', guestPath], { signal })).exitCode === 0;
  const target = directory ? hostPath : dirname(hostPath);
  const source = directory ? ['-C', guestPath, ...pack, '.'] : packOne(guestPath, basename(hostPath));
  await unpackTree(target, signal, (tar) => run(ssh, ['tar', ...source], signal, undefined, tar));
}

/** Have `send` take the content of a directory of this machine, packed. */
export async function packTree(
  directory: string,
  signal: AbortSignal,
  send: (packed: Readable) => Promise<void>,
): Promise<void> {
  const packer = execa('tar', ['-C', directory, ...pack, '.'], {
    cancelSignal: signal,
    buffer: { stdout: false },
    reject: false,
  });
  try {
    // Taken up in this very turn: execa throws away what nobody reads at once.
    await send(packer.stdout.pipe(new PassThrough()));
  } catch (error) {
    // It would wait for a reader.
    packer.kill();
    throw error;
  }
  const result = await packer;
  if (result.exitCode !== 0) throw tarFailed(result.command, result.exitCode ?? null, result.stderr);
}

/** Unpack in a directory of this machine, which is made if needed, what `receive` writes. */
async function unpackTree(
  directory: string,
  signal: AbortSignal,
  receive: (tar: Writable) => Promise<void>,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  const unpacker = execa('tar', ['-C', directory, ...unpack], { cancelSignal: signal, reject: false });
  try {
    await receive(unpacker.stdin);
  } finally {
    unpacker.stdin.end();
    await unpacker;
  }
  const result = await unpacker;
  if (result.exitCode !== 0) throw tarFailed(result.command, result.exitCode ?? null, result.stderr);
}

/** As `unpackTree`, of what comes on a stream, which stays open: whoever sends there may be answered on it. */
export async function unpackFrom(packed: Readable, directory: string, signal: AbortSignal): Promise<void> {
  await unpackTree(directory, signal, async (tar) => {
    await new Promise<void>((resolve) => {
      packed.once('end', resolve);
      // It need not take the padding at the end. What it did not get besides is told by its exit code.
      tar.once('close', resolve).on('error', () => resolve());
      packed.pipe(tar);
    });
  });
  packed.resume();
}

/** Arguments that pack one file under another name. */
function packOne(guestPath: string, name: string): string[] {
  // The first name that is met becomes the whole new name; `s,…,…,` with flags rHS: regular names only, no link targets.
  const escaped = name.replaceAll(/[\\&,]/g, '\\$&');
  return [
    '-C',
    posix.dirname(guestPath),
    `--transform=s,^.*$,${escaped},rHS`,
    ...pack,
    `./${posix.basename(guestPath)}`,
  ];
}

async function run(
  ssh: SshConnection,
  command: readonly string[],
  signal: AbortSignal,
  stdin?: Readable,
  stdout: Writable = new PassThrough().resume() as Writable,
): Promise<void> {
  let stderr = '';
  const errors = new PassThrough();
  errors.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const exitCode = await ssh.stream(command, {
    signal,
    stdout,
    stderr: errors,
    ...(stdin === undefined ? {} : { stdin }),
  });
  if (exitCode !== 0) throw tarFailed(command.join(' '), exitCode, stderr);
}

function tarFailed(command: string, exitCode: number | null, stderr: string): CommandFailedError {
  // The first line is the cause; the last says that there was one.
  const reason = lastLines(stderr).split('\n')[0];
  return new CommandFailedError(`Copying to or from the guest failed${reason === '' ? '' : `: ${reason}`}.`, {
    command: [command],
    exitCode,
    outputTail: lastLines(stderr),
  });
}
