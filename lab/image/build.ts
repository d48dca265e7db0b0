// SPDX-License-Identifier: BSD-3-Clause

import { copyFile, cp, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { LabContext } from '../context.ts';
import { requireSpace } from '../disk-space.ts';
import { CommandFailedError, LabError } from '../errors.ts';
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

/** Raised when what the build does changes in a way that its inputs do not show. */
const recipe = '1';
/** The root directory and the image made from it, while both are there. */
const spaceNeeded = 2 * 2 ** 30;

const diskName = 'root.ext4';
const hostKeyName = 'host-key.pub';

/** The image for these settings, from the cache or built. Needs root while it builds. */
export async function obtainImage(context: LabContext): Promise<GuestImage> {
  const { packageRoot, config, cache } = context;
  const source = join(packageRoot, 'vm-images');
  const packages = await imagePackages(join(source, 'packages.yaml'), config.image.packages);
  const release = await guestRelease();
  const node = await pinnedNode(packageRoot);
  const laidOver = await cache.hashFiles(['init', 'customize', 'overlay'].map((name) => join(source, name)));
  const inputs = [recipe, release, process.arch, config.image.size, node.version, laidOver, ...packages];

  const artefact = await cache.obtain('image', inputs, context, async (directory) => {
    await requireSpace(cache.root, spaceNeeded, 'the image');
    await context.runtime.prepare('image-build', context);
    await build(context, { directory, source, packages, release, node: node.path });
  });
  return {
    key: artefact.key,
    disk: join(artefact.directory, diskName),
    hostKey: (await readFile(join(artefact.directory, hostKeyName), 'utf8')).trim(),
    hit: artefact.hit,
  };
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

interface Recipe {
  readonly directory: string;
  /** `vm-images/` */
  readonly source: string;
  readonly packages: readonly string[];
  readonly release: string;
  readonly node: string;
}

async function build(context: LabContext, recipe: Recipe): Promise<void> {
  const { directory } = recipe;
  await stage(recipe);
  // Beside the artefact, not in it: only root can remove it, and a killed build leaves it behind.
  const root = join(dirname(directory), `${basename(directory)}.root`);
  const removeRoot = async (signal: AbortSignal): Promise<void> => {
    await asRoot({ ...context, signal }, directory, root, ['rm', '-rf', '--one-file-system', root]);
  };
  await removeRoot(context.signal);
  try {
    await installPackages(context, recipe, root);
    await makeDisk(context, directory, root);
  } finally {
    // Also after Ctrl-C.
    await removeRoot(new AbortController().signal);
  }
}

/** Gather in `<directory>/stage` what goes over the packages, as it is to lie in the guest. */
async function stage({ directory, source, node }: Recipe): Promise<void> {
  const staged = join(directory, 'stage');
  await cp(join(source, 'overlay'), staged, { recursive: true });
  await mkdir(join(staged, 'usr/local/bin'), { recursive: true });
  await copyFile(node, join(staged, 'usr/local/bin/node'));
  await mkdir(join(staged, 'usr/sbin'), { recursive: true });
  await copyFile(join(source, 'init'), join(staged, 'usr/sbin/zufs-init'));
  await copyFile(join(source, 'customize'), join(directory, 'customize'));
  const hostKey = makeKeyPair('zufs-guest');
  await mkdir(join(staged, 'etc/ssh'), { recursive: true });
  await writeFile(join(staged, 'etc/ssh/ssh_host_ed25519_key'), hostKey.privateKey, { mode: 0o600 });
  await writeFile(join(directory, hostKeyName), `${hostKey.publicKey}\n`);
}

async function installPackages(context: LabContext, recipe: Recipe, root: string): Promise<void> {
  const { directory, packages, release } = recipe;
  context.progress.update(`${packages.length} packages of ${release}`);
  const options = ['APT::Install-Recommends "false";', ...(await aptProxySettings(context.signal))];
  const sources = await aptSources(release, context.signal);
  const documentation = ['man', 'doc', 'locale', 'info'].map(
    (name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
  );
  try {
    await asRoot(context, directory, root, [
      'mmdebstrap',
      ...['--mode=root', '--variant=minbase', `--include=${packages.join(',')}`],
      ...documentation,
      ...options.map((option) => `--aptopt=${option}`),
      `--customize-hook=${join(directory, 'customize')}`,
      ...[release, root, ...sources],
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

async function makeDisk(context: LabContext, directory: string, root: string): Promise<void> {
  context.progress.update('ext4 image');
  const disk = join(directory, diskName);
  // Made by this user, so that it is theirs; root only writes into it.
  await using file = await open(disk, 'w', 0o644);
  await file.truncate(parseSize(context.config.image.size));
  await asRoot(context, directory, root, [
    'mkfs.ext4',
    ...['-q', '-F', '-m', '0', '-L', 'zufs-root'],
    // Every boot starts from this image anew: nothing that a journal would save.
    ...['-O', '^has_journal', '-E', 'lazy_itable_init=1,nodiscard'],
    ...['-d', root, disk],
  ]);
  // What the disk was made of; 150 MB that nobody needs again.
  await rm(join(directory, 'stage'), { recursive: true });
  await rm(join(directory, 'customize'));
}

async function asRoot(
  context: LabContext,
  directory: string,
  root: string,
  command: readonly string[],
): Promise<void> {
  await context.runtime.run(command, {
    signal: context.signal,
    progress: context.progress,
    cwd: directory,
    mounts: [{ path: dirname(root), writable: true }],
    tools: 'image-build',
    root: true,
    network: true,
  });
}
