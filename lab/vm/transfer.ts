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
    const packer = execa('tar', ['-C', hostPath, ...pack, '.'], {
      cancelSignal: signal,
      buffer: { stdout: false },
      reject: false,
    });
    // Taken up in this very turn: execa throws away what nobody reads at once.
    const packed = packer.stdout.pipe(new PassThrough());
    try {
      await run(ssh, ['tar', '-C', guestPath, ...unpack], signal, packed);
    } catch (error) {
      // It would wait for a reader.
      packer.kill();
      throw error;
    }
    const result = await packer;
    if (result.exitCode !== 0) throw tarFailed(result.command, result.exitCode ?? null, result.stderr);
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
  await mkdir(target, { recursive: true });
  const source = directory ? ['-C', guestPath, ...pack, '.'] : packOne(guestPath, basename(hostPath));
  const unpacker = execa('tar', ['-C', target, ...unpack], {
    cancelSignal: signal,
    reject: false,
  });
  try {
    await run(ssh, ['tar', ...source], signal, undefined, unpacker.stdin);
  } finally {
    unpacker.stdin.end();
    await unpacker;
  }
  const result = await unpacker;
  if (result.exitCode !== 0) throw tarFailed(result.command, result.exitCode ?? null, result.stderr);
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
