// SPDX-License-Identifier: BSD-3-Clause

import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type Docker from 'dockerode';
import { extract, type Pack, pack } from 'tar-stream';
import { z } from 'zod';
import type { SettingsContext } from '../context.ts';
import { LabError } from '../errors.ts';
import { followToEnd, imageExists } from '../runtime/builder-image.ts';
import { makeWorkDirectory } from '../work-directory.ts';
import type { EngineInfo } from './requirements.ts';

/**
 * Copy an image to other engines, which then have it under the same ID. Of the layers that one has below other images already, from
 * the lowest up, nothing is sent to it.
 */
export async function copyImage(
  from: Docker,
  others: readonly Docker[],
  id: string,
  { cacheRoot, signal }: Pick<SettingsContext, 'cacheRoot' | 'signal'>,
): Promise<void> {
  const there = await Promise.all(others.map((engine) => imageExists(engine, id)));
  const lacking = others.filter((_, at) => !there[at]);
  if (lacking.length === 0) return;
  const { RootFS } = await from.getImage(id).inspect();
  await using work = await makeWorkDirectory(cacheRoot, 'task-image-copy');
  // Once for all: an engine takes its time to put a gigabyte together.
  const saved = join(work.path, 'saved.tar');
  await pipeline(await from.getImage(id).get(), createWriteStream(saved), { signal });
  const files = await layerFiles(saved);
  await Promise.all(
    lacking.map(async (engine) => {
      const known = await commonLayers(engine, RootFS.Layers ?? []);
      try {
        await load(engine, Readable.from(withoutFiles(saved, new Set(files.slice(0, known)))));
      } catch (error) {
        signal.throwIfAborted();
        if (known === 0) throw await notLoaded(engine, error);
        // One that takes images only with all their layers.
        await load(engine, createReadStream(saved)).catch(async (cause: unknown) => {
          signal.throwIfAborted();
          throw await notLoaded(engine, cause);
        });
      }
    }),
  );
}

async function load(engine: Docker, archive: NodeJS.ReadableStream): Promise<void> {
  await followToEnd(engine, await engine.loadImage(archive));
}

/** What an engine says when its disk is full is all that tells it from one that is broken. */
async function notLoaded(engine: Docker, cause: unknown): Promise<LabError> {
  const info = (await engine.info().catch(() => undefined)) as EngineInfo | undefined;
  const where = info?.Name ?? 'A node that is gone';
  const words = cause instanceof Error ? cause.message : String(cause);
  return new LabError(`${where} did not take the image of the tasks: ${words}.`, { cause });
}

/** How many of these layers, from the lowest up, lie in that order below an image of the engine. */
async function commonLayers(engine: Docker, layers: readonly string[]): Promise<number> {
  let most = 0;
  for (const { Id } of await engine.listImages()) {
    const { RootFS } = await engine.getImage(Id).inspect();
    const differs = layers.findIndex((layer, at) => layer !== RootFS.Layers?.[at]);
    most = Math.max(most, differs === -1 ? layers.length : differs);
  }
  return most;
}

/** What a saved image says of itself. */
const manifestSchema = z.tuple([z.object({ Layers: z.array(z.string()) })]);

/** Names of the files of the layers in a saved image, the lowest first. */
async function layerFiles(archive: string): Promise<readonly string[]> {
  for await (const entry of createReadStream(archive).pipe(extract())) {
    if (entry.header.name === 'manifest.json') return manifestSchema.parse(await json(entry))[0].Layers;
    entry.resume();
  }
  return [];
}

/** The tar `archive` without these files. */
function withoutFiles(archive: string, left: ReadonlySet<string>): Pack {
  const out = pack();
  void (async () => {
    for await (const entry of createReadStream(archive).pipe(extract())) {
      if (left.has(entry.header.name)) entry.resume();
      else await pipeline(entry, out.entry(entry.header));
    }
    out.finalize();
  })().catch((error: unknown) => out.destroy(error as Error));
  return out;
}
