// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { LabError } from '../errors.ts';
import type { BootArtefacts } from '../vm/boot.ts';
import type { PreparedPmem } from '../vm/pmem.ts';

const artefactsSchema = z.object({
  kernel: z.object({ key: z.string(), bzImage: z.string(), flavour: z.enum(['release', 'debug']) }),
  image: z.object({ key: z.string(), disk: z.string(), hostKey: z.string(), hit: z.boolean() }),
  pmem: z.object({ key: z.string(), archive: z.string(), files: z.array(z.string()) }).optional(),
});

/** Artefacts on their way: the disk may be packed (`.zst`), files of NVDIMMs are, by these names in a tar. */
export interface StoredArtefacts extends Omit<BootArtefacts, 'pmem'> {
  readonly pmem?: (PreparedPmem & { readonly archive: string }) | undefined;
}

/** What a task boots: it builds nothing, so that all tasks of a run have the same, and need no compiler. */
export async function readArtefacts(file: string): Promise<StoredArtefacts> {
  try {
    return artefactsSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    throw new LabError(`${file} does not say what to boot.`, { cause: error });
  }
}

export async function writeArtefacts(file: string, { kernel, image, pmem }: StoredArtefacts): Promise<void> {
  const { key, bzImage, flavour } = kernel;
  const stored = { kernel: { key, bzImage, flavour }, image, pmem };
  await writeFile(file, `${JSON.stringify(stored, undefined, 2)}\n`);
}

/** A few megabytes of data, and gigabytes of holes, of which the tar keeps no more than where they are. */
export async function packPmem({ files }: PreparedPmem, archive: string, signal: AbortSignal): Promise<void> {
  const places = files.flatMap((file) => ['-C', dirname(file), basename(file)]);
  await execa('tar', ['--sparse', '--gzip', '-cf', archive, ...places], { cancelSignal: signal });
}

/** What to boot, with nothing packed: what was unpacked for it goes again at the end. */
export interface Unpacked extends AsyncDisposable {
  readonly artefacts: BootArtefacts;
}

/** The artefacts with what of them came packed in `directory`. */
export async function unpackArtefacts(
  stored: StoredArtefacts,
  directory: string,
  signal: AbortSignal,
): Promise<Unpacked> {
  const { kernel, image, pmem: packed } = stored;
  await mkdir(directory, { recursive: true });
  const made: string[] = [];
  const disk = image.disk.endsWith('.zst') ? join(directory, basename(image.disk, '.zst')) : image.disk;
  const pmem = packed && {
    key: packed.key,
    files: packed.files.map((name) => join(directory, 'pmem', basename(name))),
  };
  const remove = () => Promise.all(made.map((path) => rm(path, { recursive: true, force: true })));
  try {
    await Promise.all([
      disk !== image.disk && unpackDisk(image.disk, disk, made, signal),
      packed && unpackPmem(packed.archive, join(directory, 'pmem'), made, signal),
    ]);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    artefacts: { kernel, image: { ...image, disk }, ...(pmem === undefined ? {} : { pmem }) },
    [Symbol.asyncDispose]: async () => void (await remove()),
  };
}

async function unpackDisk(packed: string, disk: string, made: string[], signal: AbortSignal): Promise<void> {
  made.push(disk);
  await execa('zstd', ['-q', '-d', '-f', '--sparse', '-o', disk, packed], { cancelSignal: signal });
}

async function unpackPmem(
  archive: string,
  directory: string,
  made: string[],
  signal: AbortSignal,
): Promise<void> {
  made.push(directory);
  await mkdir(directory, { recursive: true });
  await execa('tar', ['--no-same-owner', '-xzf', archive, '-C', directory], { cancelSignal: signal });
}
