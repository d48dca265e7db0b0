// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { execa } from 'execa';
import { artefactKey } from '../cache-directory.ts';
import type { LabContext } from '../context.ts';
import { writeArtefacts } from '../remote/artefacts-file.ts';
import { followToEnd, imageExists } from '../runtime/builder-image.ts';
import type { BootArtefacts } from '../vm/boot.ts';
import { makeWorkDirectory } from '../work-directory.ts';

/** To be raised when the steps below change what the image holds. */
const recipe = '1';
const repository = 'zufs-lab-task';
/** Where the package lies in a task, and what it boots. */
export const inImage = { package: '/zufs-lab', artefacts: '/zufs-lab/artefacts/artefacts.json' } as const;

/** Parts of the package that a task needs. */
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
  'node_modules',
];

/**
 * The image of the tasks that boot these artefacts, made in the engine when it is not there. Gives its ID: a service that names it by
 * that has no registry asked for it, and what is in it is what the ID says.
 */
export async function obtainTaskImage(
  docker: Docker,
  base: string,
  artefacts: BootArtefacts,
  context: LabContext,
): Promise<string> {
  const { packageRoot, cache } = context;
  const own = parts.filter((part) => part !== 'node_modules').map((part) => join(packageRoot, part));
  const inputs = [recipe, base, artefacts.kernel.key, artefacts.image.key, await cache.hashFiles(own)];
  const lock = await readFile(join(packageRoot, 'package-lock.json'), 'utf8').catch(() => '');
  const image = `${repository}:${artefactKey(repository, [...inputs, lock])}`;
  if (!(await imageExists(docker, image))) await build(docker, image, base, artefacts, context);
  return (await docker.getImage(image).inspect()).Id;
}

async function build(
  docker: Docker,
  image: string,
  base: string,
  artefacts: BootArtefacts,
  context: LabContext,
): Promise<void> {
  const { packageRoot, progress, signal } = context;
  await using work = await makeWorkDirectory(context.cacheRoot, 'task-image');
  await mkdir(join(work.path, 'artefacts'));
  progress.update('task image: packing the disk');
  // A layer is a tar, which would hold the zeros of a sparse disk.
  const disk = join(work.path, 'artefacts', 'root.ext4.zst');
  await execa('zstd', ['-q', '-3', '-T0', '-o', disk, artefacts.image.disk], { cancelSignal: signal });
  const place = join(inImage.artefacts, '..');
  await writeArtefacts(join(work.path, 'artefacts', 'artefacts.json'), {
    kernel: { ...artefacts.kernel, bzImage: join(place, 'bzImage') },
    image: { ...artefacts.image, disk: join(place, 'root.ext4.zst') },
  });
  await writeFile(join(work.path, 'Dockerfile'), dockerfile(base));
  progress.update(`task image: ${image}`);
  const left = await devDependencies(packageRoot);
  const packer = execa(
    'tar',
    [
      ...['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--hard-dereference'],
      ...left.map((name) => `--exclude=node_modules/${name}`),
      ...['-cf', '-', '-C', packageRoot, ...parts],
      ...['-C', work.path, 'Dockerfile', 'artefacts/artefacts.json', 'artefacts/root.ext4.zst'],
      ...[
        '-C',
        join(artefacts.kernel.bzImage, '..'),
        '--transform=s,^bzImage$,artefacts/bzImage,',
        'bzImage',
      ],
    ],
    { cancelSignal: signal, buffer: { stdout: false }, reject: false },
  );
  const stream = await docker.buildImage(packer.stdout, { t: image, abortSignal: signal });
  await followToEnd(docker, stream);
}

function dockerfile(base: string): string {
  return [
    `FROM ${base}`,
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

/** Copy an image to another engine, which then has it under the same ID. */
export async function copyImage(from: Docker, to: Docker, id: string): Promise<void> {
  if (await imageExists(to, id)) return;
  await followToEnd(to, await to.loadImage(await from.getImage(id).get()));
}
