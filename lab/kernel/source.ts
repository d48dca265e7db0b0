// SPDX-License-Identifier: BSD-3-Clause

import { access, readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { LabContext } from '../context.ts';
import { requireSpace } from '../disk-space.ts';
import { CommandFailedError, LabError } from '../errors.ts';
import { type OsRelease, osRelease } from '../os-release.ts';
import { makeWorkDirectory } from '../work-directory.ts';
import { downloadLinuxSource, installedLinuxSource } from './debian-source.ts';
import { git } from './git.ts';

/** A kernel tree as it was before anything of ours. It is only ever read. */
export interface KernelSource {
  /** What it is: two trees of one identity are the same, except for a directory, which its owner goes on changing. */
  readonly identity: string;
  readonly directory: string;
  /** True when it lies in the cache and never changes. */
  readonly cached: boolean;
  /** `6.12.117` */
  readonly version: string;
  /** Where it came from, for people. */
  readonly description: string;
}

/** An unpacked kernel, and room to spare. */
const treeBytes = 2 * 2 ** 30;

/** The kernel tree that `kernel.source` names; unpacked or fetched into the cache unless it is a directory. */
export async function obtainSource(context: LabContext): Promise<KernelSource> {
  const { source, version } = context.config.kernel;
  if (source === 'debian') return await debianSource(version, context);
  const status = await stat(source).catch(() => undefined);
  if (status?.isDirectory()) return await directorySource(source);
  if (status?.isFile()) return await tarballSource(source, context);
  if (/#|:\/\/|^[^/]+@[^/]+:/.test(source)) return await gitSource(source, context);
  throw new LabError(`kernel.source: ${source} does not exist.`, {
    hint: 'It may be `debian`, a directory, a tarball, or a git URL with #ref.',
  });
}

async function debianSource(version: string, context: LabContext): Promise<KernelSource> {
  const elsewhere = upstreamOf(version, await osRelease());
  if (elsewhere !== undefined) return await gitSource(elsewhere, context);
  const installed = await installedLinuxSource(version);
  const { directory, hit } = await obtainTree(
    ['debian', version, installed?.packageVersion ?? 'downloaded'],
    context,
    async (tree) => {
      if (installed !== undefined) return await unpack(installed.tarball, tree, context);
      await downloadLinuxSource(version, tree, context);
    },
  );
  context.progress.update(`Debian's linux-source-${version}${hit ? '' : ' unpacked'}`);
  return await kernelAt(directory, { cached: true, description: `Debian's linux-source-${version}` });
}

const stableTree = 'https://git.kernel.org/pub/scm/linux/kernel/git/stable/linux.git';
/** The release of a version that our patches were last applied to. */
const lastApplied: Readonly<Record<string, string>> = { '6.12': 'v6.12.117' };

/** Where a machine gets the kernel from that has apt, but not Debian's kernels: Ubuntu's archive has others. */
export function upstreamOf(version: string, { family }: Pick<OsRelease, 'family'>): string | undefined {
  if (!family.includes('ubuntu')) return undefined;
  const tag = lastApplied[version];
  return tag === undefined ? undefined : `${stableTree}#${tag}`;
}

async function directorySource(directory: string): Promise<KernelSource> {
  const path = await realpath(directory);
  return await kernelAt(path, { cached: false, description: path });
}

async function tarballSource(tarball: string, context: LabContext): Promise<KernelSource> {
  const content = await context.cache.hashFiles([tarball]);
  const { directory } = await obtainTree(['tarball', content], context, async (tree) => {
    await unpack(tarball, tree, context);
    // Before it is kept: what is no kernel must not take up room in the cache.
    await readVersion(tree, tarball);
  });
  return await kernelAt(directory, { cached: true, description: tarball });
}

async function gitSource(source: string, context: LabContext): Promise<KernelSource> {
  const hash = source.lastIndexOf('#');
  const url = hash === -1 ? source : source.slice(0, hash);
  const ref = hash === -1 ? 'HEAD' : source.slice(hash + 1);
  const commit = await resolveRef(url, ref, context);
  const { directory } = await obtainTree(['git', commit], context, async (tree) => {
    await fetchCommit(url, commit, ref, tree, context);
    await readVersion(tree, source);
  });
  return await kernelAt(directory, { cached: true, description: `${url} at ${commit.slice(0, 12)}` });
}

async function obtainTree(
  inputs: readonly string[],
  context: LabContext,
  fill: (tree: string) => Promise<void>,
) {
  return await context.cache.obtain('kernel-source', inputs, context, async (directory) => {
    await requireSpace(directory, treeBytes, 'a kernel tree');
    await fill(directory);
  });
}

/** Unpack a tarball whose files lie in one directory, as kernel tarballs have it. */
async function unpack(tarball: string, tree: string, context: LabContext): Promise<void> {
  context.progress.update(`unpacking ${basename(tarball)}`);
  await context.runtime.prepare('kernel-build', context);
  try {
    await context.runtime.run(
      ['tar', '--extract', '--no-same-owner', '--strip-components=1', '--file', tarball],
      {
        ...taskOf(context),
        cwd: tree,
        mounts: [{ path: dirname(tarball), writable: false }],
        tools: 'kernel-build',
      },
    );
  } catch (error) {
    if (!(error instanceof CommandFailedError) || /No space left/.test(error.outputTail)) throw error;
    throw new LabError(`kernel.source: ${tarball} cannot be unpacked with tar.`, { cause: error });
  }
}

/** The commit that `ref` is there: a branch, a tag, or a commit by its full number. */
async function resolveRef(url: string, ref: string, context: LabContext): Promise<string> {
  if (/^[0-9a-f]{40}$/.test(ref)) return ref;
  context.progress.update(`asking ${url} for ${ref}`);
  const lines = await git(['ls-remote', '--exit-code', url, ref, `${ref}^{}`], {
    ...taskOf(context),
    cwd: '/',
  }).catch((error: unknown) => {
    if (!(error instanceof CommandFailedError)) throw error;
    const why = error.commandExitCode === 2 ? `has no ref ${ref}` : 'cannot be reached with git';
    throw new LabError(`kernel.source: ${url} ${why}.`, { cause: error });
  });
  // An annotated tag has a second line with what it points to.
  const found = lines
    .trim()
    .split('\n')
    .map((line) => line.split('\t'));
  const peeled = found.find(([, name]) => name.endsWith('^{}'));
  return (peeled ?? found[0])[0];
}

async function fetchCommit(
  url: string,
  commit: string,
  ref: string,
  tree: string,
  context: LabContext,
): Promise<void> {
  await using work = await makeWorkDirectory(context.cacheRoot, 'fetch');
  const repository = work.path;
  const run = (args: readonly string[]) =>
    git(['-C', repository, ...args], { ...taskOf(context), cwd: repository });
  try {
    context.progress.update(`fetching ${ref} of ${url}`);
    await git(['init', '--quiet', '--bare', repository], { ...taskOf(context), cwd: repository });
    // Not every server hands out a commit by number; every one hands out its refs.
    await run(['fetch', '--quiet', '--depth=1', url, commit]).catch(() =>
      run(['fetch', '--quiet', '--depth=1', url, ref]),
    );
    context.progress.update(`checking out ${ref}`);
    await run(['--work-tree', tree, 'checkout', '--quiet', '--force', commit, '--', '.']);
  } catch (error) {
    if (!(error instanceof CommandFailedError) || /No space left/.test(error.outputTail)) throw error;
    throw new LabError(`kernel.source: ${ref} of ${url} cannot be fetched.`, { cause: error });
  }
}

async function kernelAt(
  directory: string,
  is: Pick<KernelSource, 'cached' | 'description'>,
): Promise<KernelSource> {
  return { ...is, directory, identity: directory, version: await readVersion(directory, is.description) };
}

/** Version out of the top Makefile; rejects when the directory holds no kernel. */
async function readVersion(directory: string, description: string): Promise<string> {
  const noKernel = (why: string, cause?: unknown) =>
    new LabError(
      `kernel.source: ${description} is no Linux kernel tree: ${why}.`,
      cause === undefined ? {} : { cause },
    );
  const makefile = await readFile(join(directory, 'Makefile'), 'utf8').catch((error: unknown) => {
    throw noKernel('it has no Makefile', error);
  });
  const field = (name: string) => new RegExp(`^${name} = *(\\d*)$`, 'm').exec(makefile)?.[1];
  const [version, patchLevel, subLevel] = ['VERSION', 'PATCHLEVEL', 'SUBLEVEL'].map(field);
  if (!version || !patchLevel || subLevel === undefined)
    throw noKernel('its Makefile sets no VERSION and PATCHLEVEL');
  for (const file of ['Kconfig', 'scripts/kconfig/merge_config.sh']) {
    await access(join(directory, file)).catch((error: unknown) => {
      throw noKernel(`it has no ${file}`, error);
    });
  }
  return `${version}.${patchLevel}.${subLevel === '' ? '0' : subLevel}`;
}

function taskOf(context: LabContext): Pick<LabContext, 'signal' | 'progress'> {
  return { signal: context.signal, progress: context.progress };
}
