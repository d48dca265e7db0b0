// SPDX-License-Identifier: BSD-3-Clause

import { createReadStream } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { artefactKey } from '../cache-directory.ts';
import { requireSpace } from '../disk-space.ts';
import { LabError, MissingPrerequisiteError } from '../errors.ts';
import { osRelease } from '../os-release.ts';
import { aptSourceFiles } from './apt.ts';
import { removeContainer } from './docker-background.ts';
import type { HostRuntime } from './host.ts';
import { buildLabels, labelOfImage } from './labels.ts';
import type { TaskContext } from './runtime.ts';
import { allPackages } from './tools.ts';

const repository = 'zufs-lab-builder';
/** To be raised when the steps below change what the image holds. */
const recipe = '1';
/** The tar of the root and the image made from it. */
const neededBytes = 3 * 2 ** 30;

/** Manual pages and the like are of no use in a container. */
const leftOut = ['/usr/share/man/*', '/usr/share/doc/*', '/usr/share/locale/*', '/usr/share/info/*'];

/**
 * The image with the tools of every tool set, made when it is not there: its tag names what is in it. From a Debian root of
 * the machine's own release and package source, or, where that cannot be made, from Debian's image out of a registry.
 */
export async function obtainBuilderImage(
  docker: Docker,
  host: HostRuntime,
  workDirectory: string,
  context: TaskContext,
): Promise<string> {
  const suite = await debianSuite();
  const packages = allPackages();
  const tag = artefactKey(repository, [recipe, suite ?? 'pulled', ...packages]);
  const image = `${repository}:${tag}`;
  if (await imageExists(docker, image)) return image;
  context.progress.note(
    `Making the builder image ${image} (once; ${packages.length} packages and what they need)`,
  );
  await requireSpace(workDirectory, neededBytes, 'the builder image');
  try {
    if (suite === undefined) throw new MissingPrerequisiteError('This machine runs no Debian or Ubuntu.');
    await importRoot(docker, host, { suite, packages, tag, workDirectory }, context);
  } catch (error) {
    if (!(error instanceof MissingPrerequisiteError)) throw error;
    await installInPulledImage(docker, { packages, tag }, error, context);
  }
  return image;
}

export async function imageExists(docker: Docker, image: string): Promise<boolean> {
  try {
    await docker.getImage(image).inspect();
    return true;
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode === 404) return false;
    throw error;
  }
}

/** Undefined where the machine is no Debian or Ubuntu. */
async function debianSuite(): Promise<string | undefined> {
  const { family, codename } = await osRelease();
  return family.includes('debian') || family.includes('ubuntu') ? codename : undefined;
}

async function importRoot(
  docker: Docker,
  host: HostRuntime,
  recipe: {
    readonly suite: string;
    readonly packages: readonly string[];
    readonly tag: string;
    readonly workDirectory: string;
  },
  context: TaskContext,
): Promise<void> {
  await host.prepare('image-build', context);
  const tarball = join(recipe.workDirectory, `builder-${recipe.tag}.tar`);
  const sources = await aptSourceFiles(() => readdir('/etc/apt/sources.list.d'));
  try {
    context.progress.update('builder image: Debian root and tools');
    await host.run(
      [
        'mmdebstrap',
        '--variant=apt',
        `--include=${recipe.packages.join(',')}`,
        ...leftOut.map((path) => `--dpkgopt=path-exclude=${path}`),
        recipe.suite,
        tarball,
        ...sources,
      ],
      { ...context, cwd: recipe.workDirectory, tools: 'image-build' },
    );
    context.progress.update('builder image: importing');
    const stream = await docker.importImage(createReadStream(tarball), {
      repo: repository,
      tag: recipe.tag,
      changes: `LABEL ${labelOfImage}=builder`,
      abortSignal: context.signal,
    });
    await followToEnd(docker, stream);
  } finally {
    await rm(tarball, { force: true });
  }
}

/** Debian's own image, with the packages installed in a container that is then made an image. */
async function installInPulledImage(
  docker: Docker,
  recipe: { readonly packages: readonly string[]; readonly tag: string },
  why: MissingPrerequisiteError,
  context: TaskContext,
): Promise<void> {
  const base = 'debian:bookworm-slim';
  if (!(await imageExists(docker, base))) {
    context.progress.update(`builder image: pulling ${base}`);
    try {
      await followToEnd(docker, await docker.pull(base, { abortSignal: context.signal }));
    } catch (error) {
      throw new LabError(`The builder image cannot be made: ${why.message} And ${base} cannot be pulled.`, {
        ...(why.hint === undefined ? {} : { hint: why.hint }),
        cause: error,
      });
    }
  }
  context.progress.update('builder image: installing the tools');
  const install = 'apt-get update && apt-get install --yes --no-install-recommends "$@" && apt-get clean';
  const container = await docker.createContainer({
    Image: base,
    Cmd: ['sh', '-c', install, 'sh', ...recipe.packages],
    Env: ['DEBIAN_FRONTEND=noninteractive'],
    Labels: { ...buildLabels('builder-image') },
    HostConfig: { NetworkMode: 'host' },
  });
  const abort = (): void => void removeContainer(container);
  context.signal.addEventListener('abort', abort, { once: true });
  try {
    await container.start();
    const { StatusCode: code } = (await container.wait()) as { StatusCode: number };
    context.signal.throwIfAborted();
    if (code !== 0)
      throw new LabError(`The builder image cannot be made: apt-get failed in ${base} (exit code ${code}).`);
    await container.commit({ repo: repository, tag: recipe.tag, changes: `LABEL ${labelOfImage}=builder` });
  } finally {
    context.signal.removeEventListener('abort', abort);
    await removeContainer(container);
  }
}

/** Read what the engine says of its work until it is through; an error it reports on the way rejects. */
export async function followToEnd(docker: Docker, stream: NodeJS.ReadableStream): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    docker.modem.followProgress(stream, (error, output) => {
      const failed = (output as { error?: string }[] | undefined)?.find((line) => line.error !== undefined);
      if (error !== null) reject(error);
      else if (failed !== undefined) reject(new Error(failed.error));
      else resolve();
    });
  });
}
