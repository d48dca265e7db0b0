// SPDX-License-Identifier: BSD-3-Clause

import type Docker from 'dockerode';
import { taskImageLabel } from './image.ts';
import type { EngineInfo } from './requirements.ts';

/** What an engine had of images of tasks. */
export interface RemovedImages {
  /** Name of its machine. */
  readonly node: string;
  readonly removed: readonly string[];
  /** What it would not remove: others are made from it, or a container has it. */
  readonly kept: readonly string[];
}

/** Remove the images of tasks from an engine. Their layers are images of their own, of which the lower ones go after the upper ones. */
export async function removeTaskImages(engine: Docker): Promise<RemovedImages> {
  const { Name: node = '' } = (await engine.info()) as EngineInfo;
  const removed: string[] = [];
  for (;;) {
    const names = await imageNames(engine, { label: [taskImageLabel] });
    const gone = await Promise.all(names.map((name) => removeImage(engine, name)));
    const done = names.filter((_, at) => gone[at]);
    removed.push(...done);
    if (done.length === 0) return { node, removed, kept: names };
  }
}

/** By their tags; by its ID one that has none, as images have that came from another engine. */
export async function imageNames(
  engine: Docker,
  filters: { readonly label?: string[] } = {},
): Promise<readonly string[]> {
  return (await engine.listImages({ filters })).flatMap(({ Id, RepoTags: tags }) => {
    const named = (tags ?? []).filter((tag) => !tag.startsWith('<none>'));
    return named.length === 0 ? [Id] : named;
  });
}

/** False when it is in use. */
async function removeImage(engine: Docker, name: string): Promise<boolean> {
  try {
    await engine.getImage(name).remove();
    return true;
  } catch (error) {
    const { statusCode } = error as { readonly statusCode?: number };
    if (statusCode === 409) return false;
    // It went with another one.
    if (statusCode === 404) return true;
    throw error;
  }
}
