// SPDX-License-Identifier: BSD-3-Clause

import { access, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { LabContext } from '../context.ts';
import { CommandFailedError, LabError } from '../errors.ts';
import { makeWorkDirectory } from '../work-directory.ts';

/** Debian's linux-source package as installed on this machine, if it is. */
export async function installedLinuxSource(
  version: string,
): Promise<{ readonly tarball: string; readonly packageVersion: string } | undefined> {
  const tarball = `/usr/src/linux-source-${version}.tar.xz`;
  const exists = await access(tarball).then(
    () => true,
    () => false,
  );
  if (!exists) return undefined;
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query fills this in.
  const query = ['--show', '--showformat', '${Version}', `linux-source-${version}`];
  const { stdout, exitCode } = await execa('dpkg-query', query, { reject: false, stdin: 'ignore' });
  return exitCode === 0 ? { tarball, packageVersion: stdout } : undefined;
}

/**
 * The same package fetched with apt and unpacked into `tree`, nothing installed: apt gets a directory for its state, so this
 * needs no root and does not depend on how old the machine's package lists are.
 */
export async function downloadLinuxSource(version: string, tree: string, context: LabContext): Promise<void> {
  const name = `linux-source-${version}`;
  await context.runtime.prepare('kernel-build', context);
  await using directory = await makeWorkDirectory(context.cacheRoot, 'apt');
  const work = directory.path;
  const run = (command: readonly string[]) =>
    context.runtime.run(command, {
      signal: context.signal,
      progress: context.progress,
      cwd: work,
      mounts: [{ path: tree, writable: true }],
      tools: 'kernel-build',
      network: true,
    });
  try {
    for (const name of ['lists/partial', 'archives/partial'])
      await mkdir(join(work, name), { recursive: true });
    const apt = [
      'apt-get',
      ...[
        '-o',
        `Dir::State::lists=${work}/lists`,
        '-o',
        `Dir::Cache=${work}`,
        '-o',
        `Dir::Cache::archives=${work}/archives`,
      ],
      // As root apt would fetch as the user _apt, who may not write here.
      ...['-o', 'APT::Sandbox::User=', '-o', 'Debug::NoLocking=true'],
    ];
    context.progress.update('fetching package lists');
    await run([...apt, 'update']);
    context.progress.update(`fetching ${name}`);
    await run([...apt, 'download', name]);
    const deb = (await readdir(work)).find((file) => file.endsWith('.deb'));
    if (deb === undefined) throw new Error(`apt-get download ${name} left no package.`);
    context.progress.update(`unpacking ${deb}`);
    await run(['dpkg-deb', '--extract', deb, join(work, 'package')]);
    const tarball = join(work, 'package', 'usr', 'src', `${name}.tar.xz`);
    await run([
      'tar',
      '--extract',
      '--no-same-owner',
      '--strip-components=1',
      '--directory',
      tree,
      '--file',
      tarball,
    ]);
  } catch (error) {
    if (!(error instanceof CommandFailedError) || /No space left/.test(error.outputTail)) throw error;
    throw new LabError(`kernel.source: Debian's ${name} cannot be fetched with apt.`, {
      hint: 'Check kernel.version, or set kernel.source to a directory, a tarball or a git URL.',
      cause: error,
    });
  }
}
