// SPDX-License-Identifier: BSD-3-Clause

import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createZstdCompress } from 'node:zlib';
import type Docker from 'dockerode';
import { execa } from 'execa';
import { artefactKey } from '../cache-directory.ts';
import type { LabContext } from '../context.ts';
import { writeArtefacts } from '../remote/artefacts-file.ts';
import { followToEnd, imageExists } from '../runtime/builder-image.ts';
import type { BootArtefacts } from '../vm/boot.ts';
import { makeWorkDirectory } from '../work-directory.ts';

/** To be raised when the steps below change what the image holds. */
const recipe = '2';
const repository = 'zufs-lab-task';
/** Where the package lies in a task, and what it boots. */
export const inImage = { package: '/zufs-lab', artefacts: '/zufs-lab/artefacts.json' } as const;
/** Below the package. */
const files = { artefacts: 'artefacts.json', kernel: 'bzImage', disk: 'root.ext4.zst' } as const;

const readBytes = 2 ** 20;

/** Parts of the package that a task needs, beside what it depends on. */
const parts = [
  'lab',
  'xfstests-runner',
  'workloads',
  'bench',
  'server',
  'vm-images',
  'kernel-config',
  'lab.yaml',
  'package.json',
];

/** What is put on top of the image below. */
interface Layer {
  /** Empty for the last one, which is the image of the tasks. */
  readonly name: string;
  /** All that decides on its content. */
  readonly inputs: readonly string[];
  /** Arguments of tar that add its content; `directory` is for what has to be made first. */
  content(directory: string): Promise<readonly string[]>;
}

/**
 * The image of the tasks that boot these artefacts, made in the engine when it is not there. Gives its ID: a service that names it by
 * that has no registry asked for it, and what is in it is what the ID says. Its layers are images of their own: what changes most
 * often lies on top, and what is below is not made again.
 */
export async function obtainTaskImage(
  docker: Docker,
  base: string,
  artefacts: BootArtefacts,
  context: LabContext,
): Promise<string> {
  const layers = [
    diskLayer(artefacts, context),
    await dependenciesLayer(context),
    kernelLayer(artefacts),
    await packageLayer(context),
  ];
  let image = base;
  for (const layer of layers) image = await obtainLayer(docker, image, layer, context);
  return (await docker.getImage(image).inspect()).Id;
}

function diskLayer({ image: { key, disk } }: BootArtefacts, { signal }: LabContext): Layer {
  return {
    name: 'disk',
    inputs: [key],
    content: async (directory) => {
      // A layer is a tar, which would hold the zeros of a sparse disk.
      const packed = createWriteStream(join(directory, files.disk));
      const pages = createReadStream(disk, { highWaterMark: readBytes });
      await pipeline(pages, createZstdCompress(), packed, { signal });
      return ['-C', directory, files.disk];
    },
  };
}

async function dependenciesLayer({ packageRoot }: LabContext): Promise<Layer> {
  const left = await devDependencies(packageRoot);
  const lock = await readFile(join(packageRoot, 'package-lock.json'), 'utf8').catch(() => '');
  return {
    name: 'dependencies',
    inputs: [lock, ...left],
    content: async () => [
      ...left.map((name) => `--exclude=node_modules/${name}`),
      ...['-C', packageRoot, 'node_modules'],
    ],
  };
}

function kernelLayer({ kernel, image }: BootArtefacts): Layer {
  return {
    name: 'kernel',
    inputs: [kernel.key, image.key],
    content: async (directory) => {
      await writeArtefacts(join(directory, files.artefacts), {
        kernel: { ...kernel, bzImage: `${inImage.package}/${files.kernel}` },
        image: { ...image, disk: `${inImage.package}/${files.disk}` },
      });
      return ['-C', directory, files.artefacts, '-C', dirname(kernel.bzImage), files.kernel];
    },
  };
}

async function packageLayer({ packageRoot, cache }: LabContext): Promise<Layer> {
  return {
    name: '',
    inputs: [await cache.hashFiles(parts.map((part) => join(packageRoot, part)))],
    content: async () => ['-C', packageRoot, ...parts],
  };
}

/** The image `below` with the layer on top. */
async function obtainLayer(
  docker: Docker,
  below: string,
  { name, inputs, content }: Layer,
  { cacheRoot, progress, signal }: LabContext,
): Promise<string> {
  const place = name === '' ? repository : `${repository}-${name}`;
  const image = `${place}:${artefactKey(place, [recipe, below, ...inputs])}`;
  if (await imageExists(docker, image)) return image;
  progress.update(`task image: ${name || 'the lab'}`);
  await using work = await makeWorkDirectory(cacheRoot, 'task-image');
  await writeFile(join(work.path, 'Dockerfile'), dockerfile(below));
  const packer = execa(
    'tar',
    [
      ...['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--hard-dereference'],
      ...['-cf', '-', '-C', work.path, 'Dockerfile', ...(await content(work.path))],
    ],
    { cancelSignal: signal, buffer: { stdout: false }, reject: false },
  );
  await followToEnd(docker, await docker.buildImage(packer.stdout, { t: image, abortSignal: signal }));
  return image;
}

function dockerfile(below: string): string {
  return [
    `FROM ${below}`,
    `COPY . ${inImage.package}`,
    'LABEL zufs-lab.image=task',
    `ENTRYPOINT ["${inImage.package}/node_modules/.bin/node"]`,
    '',
  ].join('\n');
}

/** What the tests and checks of this package need is large, and no use to a task. */
async function devDependencies(packageRoot: string): Promise<readonly string[]> {
  const manifest = JSON.parse(await readFile(join(packageRoot, 'package.json'), 'utf8')) as {
    readonly devDependencies?: Readonly<Record<string, string>>;
  };
  return Object.keys(manifest.devDependencies ?? {}).map((name) =>
    name.startsWith('@') ? name.split('/')[0] : name,
  );
}
