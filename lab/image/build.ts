// SPDX-License-Identifier: BSD-3-Clause

import { copyFile, cp, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { LabContext } from '../context.ts';
import { requireSpace } from '../disk-space.ts';
import { CommandFailedError, LabError, MissingPrerequisiteError } from '../errors.ts';
import { rootAccess } from '../runtime/apt.ts';
import { makeKeyPair } from '../vm/ssh-key.ts';
import { parseSize } from '../vm/topology.ts';
import { imagePackages } from './packages.ts';
import { aptProxySettings, aptSources, guestRelease } from './sources.ts';

/** The guest's root disk. */
export interface GuestImage {
  readonly key: string;
  /** A sparse ext4 image. */
  readonly disk: string;
  /** Public key of the guest's SSH server, as one line. */
  readonly hostKey: string;
  readonly hit: boolean;
}

/** Raised when what a build does changes in a way that its inputs do not show. */
const packagesRecipe = '1';
const diskRecipe = '2';
/** The root directory and what is made from it, while both are there. */
const spaceNeeded = 2 * 2 ** 30;

const archiveName = 'packages.tar.zst';
const diskName = 'root.ext4';
const hostKeyName = 'host-key.pub';

/**
 * The image for these settings, from the cache or built. Needs root while it builds. Packages and disk are artefacts of their
 * own, so that a change to init or to a file of the overlay installs nothing anew.
 */
export async function obtainImage(context: LabContext): Promise<GuestImage> {
  const { packageRoot, config, cache } = context;
  const source = join(packageRoot, 'vm-images');
  const names = await imagePackages(join(source, 'packages.yaml'), config.image.packages);
  const release = await guestRelease();
  const node = await pinnedNode(packageRoot);
  const laidOver = await cache.hashFiles(['init', 'customize', 'overlay'].map((name) => join(source, name)));
  const packageInputs = [packagesRecipe, release, process.arch, ...names];
  const diskInputs = [diskRecipe, config.image.size, node.version, laidOver, ...packageInputs];

  const artefact = await cache.obtain('image', diskInputs, context, async (directory) => {
    await requireSpace(cache.root, spaceNeeded, 'the image');
    await requireRoot(context);
    await context.runtime.prepare('image-build', context);
    const packages = await cache.obtain('image-packages', packageInputs, context, (packagesDirectory) =>
      installPackages(context, packagesDirectory, release, names),
    );
    await makeDisk(context, {
      directory,
      source,
      node: node.path,
      archive: join(packages.directory, archiveName),
    });
  });
  return {
    key: artefact.key,
    disk: join(artefact.directory, diskName),
    hostKey: (await readFile(join(artefact.directory, hostKeyName), 'utf8')).trim(),
    hit: artefact.hit,
  };
}

/** A root directory has files of many owners, so making one takes root; a container has it, a user of this machine may not. */
async function requireRoot({ runtime, packageRoot, cacheRoot }: LabContext): Promise<void> {
  if (runtime.kind !== 'host' || (await rootAccess()) !== undefined) return;
  throw new MissingPrerequisiteError("The guest's image is built as root, and this user may not use sudo.", {
    hint: `Run in ${packageRoot}: sudo npx zufs-lab image build --set cacheDir=${cacheRoot}`,
  });
}

/** The Node binary that npm installed for this package: the guest runs the same. */
async function pinnedNode(packageRoot: string): Promise<{ path: string; version: string }> {
  const directory = join(packageRoot, 'node_modules', 'node');
  const path = join(directory, 'bin', 'node');
  try {
    await stat(path);
    const { version } = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as {
      version: string;
    };
    return { path, version };
  } catch (error) {
    throw new LabError('The pinned Node, which the guest gets too, is not installed.', {
      hint: 'Run npm ci in the checkout.',
      cause: error,
    });
  }
}

async function installPackages(
  context: LabContext,
  directory: string,
  release: string,
  names: readonly string[],
): Promise<void> {
  context.progress.update(`${names.length} packages of ${release}`);
  const options = ['APT::Install-Recommends "false";', ...(await aptProxySettings(context.signal))];
  const sources = await aptSources(release, context.signal);
  const documentation = ['man', 'doc', 'locale', 'info'].map(
    (name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
  );
  try {
    await asRoot(context, directory, [
      'mmdebstrap',
      ...['--mode=root', '--variant=minbase', `--include=${names.join(',')}`],
      ...documentation,
      ...options.map((option) => `--aptopt=${option}`),
      ...[release, join(directory, archiveName), ...sources],
    ]);
  } catch (error) {
    if (!(error instanceof CommandFailedError)) throw error;
    const missing = /Unable to locate package (\S+)/.exec(error.outputTail)?.[1];
    throw new LabError(
      missing === undefined
        ? `The guest's packages could not be installed: ${error.outputTail.trim().split('\n').at(-1)}`
        : `${release} has no package ${missing}, which the guest's image asks for.`,
      { hint: 'The log of this step has the whole of it (--verbose shows it).', cause: error },
    );
  }
}

interface DiskRecipe {
  readonly directory: string;
  /** `vm-images/` */
  readonly source: string;
  readonly node: string;
  /** The packages' files. */
  readonly archive: string;
}

async function makeDisk(context: LabContext, recipe: DiskRecipe): Promise<void> {
  const { directory, archive } = recipe;
  context.progress.update('ext4 image');
  const staged = await stage(recipe);
  const disk = join(directory, diskName);
  {
    // Made by this user, so that it is theirs; root only writes into it.
    await using file = await open(disk, 'w', 0o644);
    await file.truncate(parseSize(context.config.image.size));
  }
  // Beside the artefact, not in it: only root can remove it, and a killed build leaves it behind.
  const root = join(dirname(directory), `${basename(directory)}.root`);
  const removeRoot = (signal: AbortSignal) =>
    asRoot({ ...context, signal }, directory, ['rm', '-rf', '--one-file-system', root]);
  const mounts = [dirname(directory), dirname(archive)];
  await removeRoot(context.signal);
  try {
    await asRoot(context, directory, ['mkdir', root], mounts);
    await asRoot(
      context,
      directory,
      ['tar', '-C', root, '--numeric-owner', '--xattrs', '--xattrs-include=*', '-xf', archive],
      mounts,
    );
    await asRoot(
      context,
      directory,
      [join(recipe.source, 'customize'), root, staged],
      [...mounts, recipe.source],
    );
    await asRoot(
      context,
      directory,
      [
        'mkfs.ext4',
        ...['-q', '-F', '-m', '0', '-L', 'zufs-root'],
        // Every boot starts from this image anew: nothing that a journal would save.
        ...['-O', '^has_journal', '-E', 'lazy_itable_init=1,nodiscard'],
        ...['-d', root, disk],
      ],
      mounts,
    );
  } finally {
    // Also after Ctrl-C.
    await removeRoot(new AbortController().signal);
  }
  // 150 MB that nobody needs again.
  await rm(staged, { recursive: true });
}

/** Gather what goes over the packages, as it is to lie in the guest. Gives the directory. */
async function stage({ directory, source, node }: DiskRecipe): Promise<string> {
  const staged = join(directory, 'stage');
  await cp(join(source, 'overlay'), staged, { recursive: true });
  await mkdir(join(staged, 'usr/local/bin'), { recursive: true });
  await copyFile(node, join(staged, 'usr/local/bin/node'));
  await copyFile(join(source, 'init'), join(staged, 'usr/sbin/zufs-init'));
  const hostKey = makeKeyPair('zufs-guest');
  await writeFile(join(staged, 'etc/ssh/ssh_host_ed25519_key'), hostKey.privateKey, { mode: 0o600 });
  await writeFile(join(directory, hostKeyName), `${hostKey.publicKey}\n`);
  return staged;
}

/** Run a program as root, seeing the artefact's directory, those of `visible`, and where they lie. */
async function asRoot(
  context: LabContext,
  directory: string,
  command: readonly string[],
  visible: readonly string[] = [dirname(directory)],
): Promise<void> {
  await context.runtime.run(command, {
    signal: context.signal,
    progress: context.progress,
    cwd: directory,
    mounts: visible.map((path) => ({ path, writable: true })),
    tools: 'image-build',
    root: true,
    network: true,
  });
}
