// SPDX-License-Identifier: BSD-3-Clause

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { pack } from 'tar-stream';
import { followToEnd } from '../runtime/builder-image.ts';

/** An image that is one layer on top of another. */
export interface LayerOrder {
  readonly name: string;
  /** What is below, which the engine has. */
  readonly below: string;
  /** Tar of the layer: paths as they are in a container. */
  readonly file: string;
  readonly entrypoint: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Make the image in an engine by giving it the layer and what `docker save` would say of the whole: it looks into an archive only for
 * the layers that it has not. The same order gives an image of the same ID in every engine that has the same below. Rejects on an
 * engine that takes no archive without all of the layers.
 */
export async function loadLayer(docker: Docker, order: LayerOrder): Promise<void> {
  const { Architecture, Config, RootFS } = await docker.getImage(order.below).inspect();
  const below = RootFS.Layers ?? [];
  const content = await readFile(order.file);
  const config = JSON.stringify({
    architecture: Architecture,
    os: 'linux',
    created: '1970-01-01T00:00:00Z',
    config: { Env: Config.Env, Entrypoint: order.entrypoint, Labels: order.labels },
    rootfs: { type: 'layers', diff_ids: [...below, `sha256:${sha256(content)}`] },
  });
  const files = {
    config: `${sha256(config)}.json`,
    layers: [...below.map((_, at) => `below-${at}/layer.tar`), 'top/layer.tar'],
  };
  const archive = pack();
  archive.entry({ name: 'top/layer.tar' }, content);
  archive.entry({ name: files.config }, config);
  const manifest = [{ Config: files.config, RepoTags: [order.name], Layers: files.layers }];
  archive.entry({ name: 'manifest.json' }, JSON.stringify(manifest));
  archive.finalize();
  await followToEnd(docker, await docker.loadImage(Readable.from(archive)));
}

function sha256(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}
