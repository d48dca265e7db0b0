// SPDX-License-Identifier: BSD-3-Clause

import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createZstdCompress } from 'node:zlib';
import type Docker from 'dockerode';
import { execa } from 'execa';
import { artefactKey } from '../cache-directory.ts';
import type { LabContext } from '../context.ts';
import { packPmem, writeArtefacts } from '../remote/artefacts-file.ts';
import { followToEnd, imageExists } from '../runtime/builder-image.ts';
import { labelOfImage } from '../runtime/labels.ts';
import type { BootArtefacts } from '../vm/boot.ts';
import type { PreparedPmem } from '../vm/pmem.ts';
import { makeWorkDirectory } from '../work-directory.ts';
import { copyImage } from './copy-image.ts';
import { loadLayer } from './load-layer.ts';

/** To be raised when the steps below change what the image holds. */
const recipe = '3';
const repository = 'zufs-lab-task';
/** Where the package lies in a task, and what it boots. */
export const inImage = { package: '/zufs-lab', artefacts: '/zufs-lab/artefacts.json' } as const;
/** Below the package. */
const files = {
  artefacts: 'artefacts.json',
  kernel: 'bzImage',
  disk: 'root.ext4.zst',
  pmem: 'pmem.tar.gz',
} as const;

const readBytes = 2 ** 20;
/** Of each of the images, as engines filter by. */
export const taskImageLabel = `${labelOfImage}=task`;
const entrypoint = `${inImage.package}/node_modules/.bin/node`;
const reproducible = [
  ...['--sort=name', '--mtime=@0', '--owner=0', '--group=0'],
  ...['--numeric-owner', '--hard-dereference'],
];

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
 * The image of the tasks that boot these artefacts, made in all these engines when it is not there: in the first, and copied to the
 * others. Gives its ID: a service that names it by that has no registry asked for it, and what is in it is what the ID says. Its
 * layers are images of their own: what changes most often lies on top, and what is below is neither made nor copied again.
 */
export async function obtainTaskImage(
  [first, ...others]: readonly [Docker, ...Docker[]],
  base: string,
  artefacts: BootArtefacts,
  context: LabContext,
): Promise<string> {
  const layers = [
    diskLayer(artefacts, context),
    await dependenciesLayer(context),
    ...(artefacts.pmem === undefined ? [] : [pmemLayer(artefacts.pmem, context)]),
    kernelLayer(artefacts),
  ];
  let below = base;
  for (const layer of layers) below = await obtainLayer(first, below, layer, context);
  const top = await packageLayer(context);
  const image = nameOf(below, top);
  if (!(await imageExists(first, image))) {
    await copy(first, others, below, context);
    if (!(await loadTop([first, ...others], below, image, top, context))) {
      await obtainLayer(first, below, top, context);
    }
  }
  // To those that could not be given the last layer alone, or have joined since.
  await copy(first, others, image, context);
  return (await first.getImage(image).inspect()).Id;
}

async function copy(
  from: Docker,
  others: readonly Docker[],
  image: string,
  context: LabContext,
): Promise<void> {
  context.progress.update('task image: to the other engines');
  await copyImage(from, others, (await from.getImage(image).inspect()).Id, context);
}

/** Whether all took it. */
async function loadTop(
  engines: readonly Docker[],
  below: string,
  name: string,
  layer: Layer,
  { cacheRoot, progress, signal }: LabContext,
): Promise<boolean> {
  progress.update(titleOf(layer));
  await using work = await makeWorkDirectory(cacheRoot, 'task-image');
  const file = join(work.path, 'layer.tar');
  const place = inImage.package.slice(1);
  const content = await layer.content(work.path);
  await execa('tar', [...reproducible, `--transform=s,^,${place}/,S`, '-cf', file, ...content], {
    cancelSignal: signal,
  });
  // Copied by its ID, it has no name there.
  const { Id } = await engines[0].getImage(below).inspect();
  const order = { name, below: Id, file, entrypoint: [entrypoint], labels: { [labelOfImage]: 'task' } };
  try {
    await Promise.all(engines.map((engine) => loadLayer(engine, order)));
    return true;
  } catch {
    signal.throwIfAborted();
    return false;
  }
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

/** Tasks would have to boot a VM first to prepare them. */
function pmemLayer(pmem: PreparedPmem, { signal }: LabContext): Layer {
  return {
    name: 'pmem',
    inputs: [pmem.key],
    content: async (directory) => {
      await packPmem(pmem, join(directory, files.pmem), signal);
      return ['-C', directory, files.pmem];
    },
  };
}

function kernelLayer({ kernel, image, pmem }: BootArtefacts): Layer {
  const place = (file: string) => `${inImage.package}/${file}`;
  return {
    name: 'kernel',
    inputs: [kernel.key, image.key, pmem?.key ?? ''],
    content: async (directory) => {
      await writeArtefacts(join(directory, files.artefacts), {
        kernel: { ...kernel, bzImage: place(files.kernel) },
        image: { ...image, disk: place(files.disk) },
        pmem: pmem && {
          key: pmem.key,
          archive: place(files.pmem),
          files: pmem.files.map((file) => basename(file)),
        },
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

function nameOf(below: string, { name, inputs }: Layer): string {
  const place = name === '' ? repository : `${repository}-${name}`;
  return `${place}:${artefactKey(place, [recipe, below, ...inputs])}`;
}

function titleOf({ name }: Layer): string {
  return `task image: ${name || 'the lab'}`;
}

/** The image `below` with the layer on top. */
async function obtainLayer(
  docker: Docker,
  below: string,
  layer: Layer,
  { cacheRoot, progress, signal }: LabContext,
): Promise<string> {
  const image = nameOf(below, layer);
  if (await imageExists(docker, image)) return image;
  progress.update(titleOf(layer));
  await using work = await makeWorkDirectory(cacheRoot, 'task-image');
  await writeFile(join(work.path, 'Dockerfile'), dockerfile(below));
  const content = await layer.content(work.path);
  const packer = execa('tar', [...reproducible, '-cf', '-', '-C', work.path, 'Dockerfile', ...content], {
    cancelSignal: signal,
    buffer: { stdout: false },
    reject: false,
  });
  await followToEnd(docker, await docker.buildImage(packer.stdout, { t: image, abortSignal: signal }));
  return image;
}

function dockerfile(below: string): string {
  return [
    `FROM ${below}`,
    `COPY . ${inImage.package}`,
    `LABEL ${taskImageLabel}`,
    `ENTRYPOINT ["${entrypoint}"]`,
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
