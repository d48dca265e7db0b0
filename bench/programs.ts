// SPDX-License-Identifier: BSD-3-Clause

/** The programs that run in the guest, linked statically on the host: our own, and libfuse's examples. */

import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { CommandFailedError, LabError } from '../lab/errors.ts';
import { aptSources, guestRelease } from '../lab/image/sources.ts';
import { makeWorkDirectory } from '../lab/work-directory.ts';

/** Raised when what a build does changes in a way that its inputs do not show. */
const recipe = '1';

/** Directories on the host whose files are all to go to `guestPrograms`. */
export async function obtainPrograms(context: LabContext, withFuse: boolean): Promise<string[]> {
  const own = await obtainOwn(context);
  return withFuse ? [own, await obtainFuse(context)] : [own];
}

async function obtainOwn(context: LabContext): Promise<string> {
  const source = join(context.packageRoot, 'bench', 'programs');
  const sources = (await readdir(source)).filter((name) => name.endsWith('.c')).sort();
  const inputs = [recipe, process.arch, await context.cache.hashFiles([source])];
  const artefact = await context.cache.obtain('bench-programs', inputs, context, async (directory) => {
    context.progress.update('compiling');
    await context.runtime.prepare('bench-build', context);
    await run(context, directory, [
      ...['cc', '-std=gnu11', '-O2', '-static', '-pthread', '-Wall', '-Wextra', '-Werror'],
      ...['-o', join(directory, 'zufs-bench-names'), ...sources.map((name) => join(source, name))],
    ]);
  });
  return artefact.directory;
}

/**
 * passthrough_hp and passthrough_ll of Debian's source package, against its static library: the binary packages hold only one
 * of them, and that as documentation, which images leave out.
 */
async function obtainFuse(context: LabContext): Promise<string> {
  const release = await guestRelease();
  const artefact = await context.cache.obtain(
    'bench-fuse',
    [recipe, process.arch, release],
    context,
    async (directory) => {
      await context.runtime.prepare('bench-build', context);
      await using work = await makeWorkDirectory(context.cacheRoot, 'bench-fuse');
      const examples = join(await fetchSource(context, work.path, release), 'example');
      context.progress.update('compiling passthrough_ll and passthrough_hp');
      const library = ['-D_FILE_OFFSET_BITS=64', '-I/usr/include/fuse3', '-static', '-O2', '-w'];
      const rest = ['-lfuse3', '-lpthread', '-ldl'];
      for (const [compiler, name, suffix] of [
        ['gcc', 'passthrough_ll', 'c'],
        ['g++', 'passthrough_hp', 'cc'],
      ]) {
        const source = join(examples, `${name}.${suffix}`);
        await run(
          context,
          directory,
          [compiler, ...library, '-o', join(directory, name), source, ...rest],
          work.path,
        );
      }
    },
  );
  return artefact.directory;
}

/** Fetch the source package fuse3 with apt, which gets directories of its own, and unpack it. */
async function fetchSource(context: LabContext, work: string, release: string): Promise<string> {
  const sources = await aptSources(release, context.signal);
  const list = join(work, 'sources.list');
  await writeFile(list, sources.map((line) => `${line.replace(/^deb /, 'deb-src ')}\n`).join(''));
  const directories = {
    'Dir::State::lists': 'lists',
    'Dir::Cache': 'cache',
    'Dir::Cache::archives': 'archives',
  };
  const options = ['APT::Sandbox::User=', 'Debug::NoLocking=true', `Dir::Etc::SourceList=${list}`];
  options.push('Dir::Etc::SourceParts=/dev/null');
  for (const [option, name] of Object.entries(directories)) {
    await mkdir(join(work, name, 'partial'), { recursive: true });
    options.push(`${option}=${join(work, name)}`);
  }
  const apt = ['apt-get', ...options.flatMap((option) => ['-o', option])];
  try {
    context.progress.update('fetching package lists');
    await run(context, work, [...apt, 'update'], work);
    context.progress.update("fetching libfuse's source");
    await run(context, work, [...apt, 'source', '--download-only', 'fuse3'], work);
  } catch (error) {
    if (!(error instanceof CommandFailedError)) throw error;
    throw new LabError(
      "Debian's source package fuse3, of which the FUSE servers are made, cannot be fetched.",
      {
        hint: 'A matrix without file systems of kind fuse needs none.',
        cause: error,
      },
    );
  }
  const archive = (await readdir(work)).find((name) => /\.orig\.tar\.\w+$/.test(name));
  if (archive === undefined) throw new LabError('The source package fuse3 came without its archive.');
  const tree = join(work, 'fuse3');
  await mkdir(tree);
  const unpack = ['tar', '--extract', '--no-same-owner', '--strip-components=1', '--directory', tree];
  await run(context, work, [...unpack, '--file', join(work, archive)], work);
  return tree;
}

async function run(
  context: LabContext,
  directory: string,
  command: readonly string[],
  also?: string,
): Promise<void> {
  await context.runtime.run(command, {
    signal: context.signal,
    progress: context.progress,
    cwd: directory,
    mounts: [
      { path: join(context.packageRoot, 'bench', 'programs'), writable: false },
      ...(also === undefined || also === directory ? [] : [{ path: also, writable: true }]),
    ],
    tools: 'bench-build',
    network: true,
  });
}
