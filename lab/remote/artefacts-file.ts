// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { LabError } from '../errors.ts';
import type { BootArtefacts } from '../vm/boot.ts';

const artefactsSchema = z.object({
  kernel: z.object({ key: z.string(), bzImage: z.string(), flavour: z.enum(['release', 'debug']) }),
  image: z.object({ key: z.string(), disk: z.string(), hostKey: z.string(), hit: z.boolean() }),
});

/** What a task boots: it builds nothing, so that all tasks of a run have the same, and need no compiler. */
export async function readArtefacts(file: string): Promise<BootArtefacts> {
  try {
    return artefactsSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    throw new LabError(`${file} does not say what to boot.`, { cause: error });
  }
}

/** What to boot, with its disk unpacked: that goes again at the end. */
export interface Unpacked extends AsyncDisposable {
  readonly artefacts: BootArtefacts;
}

/** The artefacts with their disk unpacked in `directory`, where it came packed. */
export async function unpackDisk(
  artefacts: BootArtefacts,
  directory: string,
  signal: AbortSignal,
): Promise<Unpacked> {
  const { disk } = artefacts.image;
  if (!disk.endsWith('.zst')) return { artefacts, [Symbol.asyncDispose]: async () => undefined };
  await mkdir(directory, { recursive: true });
  const unpacked = join(directory, basename(disk, '.zst'));
  await execa('zstd', ['-q', '-d', '-f', '--sparse', '-o', unpacked, disk], { cancelSignal: signal });
  return {
    artefacts: { ...artefacts, image: { ...artefacts.image, disk: unpacked } },
    [Symbol.asyncDispose]: () => rm(unpacked, { force: true }),
  };
}

export async function writeArtefacts(file: string, { kernel, image }: BootArtefacts): Promise<void> {
  const { key, bzImage, flavour } = kernel;
  await writeFile(file, `${JSON.stringify({ kernel: { key, bzImage, flavour }, image }, undefined, 2)}\n`);
}
