// SPDX-License-Identifier: BSD-3-Clause

import type Docker from 'dockerode';
import {
  type EngineInfo,
  requireReached,
  requireRoomForGateway,
  type UsableNodes,
  usableNodes,
} from './requirements.ts';
import type { SwarmNode, SwarmSettings } from './types.ts';

/**
 * The nodes that tasks can be placed on. Throws a `LabError` with what is wrong when there is none, or when the image cannot be
 * brought to one of them: `others` are the engines that it is copied to.
 */
export async function nodesForTasks(
  manager: Docker,
  others: readonly Docker[],
  settings: SwarmSettings,
): Promise<UsableNodes> {
  const nodes = await listNodes(manager);
  const found = usableNodes(nodes, settings);
  const infos = (await Promise.all(
    [manager, ...others].map((engine) => engine.info()),
  )) as readonly EngineInfo[];
  requireRoomForGateway(nodes, infos[0]);
  requireReached(found.usable, infos);
  return found;
}

/** All nodes of the swarm, whether they can be used or not. */
export async function listNodes(manager: Docker): Promise<readonly SwarmNode[]> {
  return ((await manager.listNodes()) as readonly ApiNode[]).map(({ ID, Spec, Description, Status }) => ({
    id: ID,
    name: Description.Hostname,
    state: Status.State,
    availability: Spec.Availability,
    architecture: Description.Platform.Architecture,
    cpus: Description.Resources.NanoCPUs / 1e9,
    memory: Description.Resources.MemoryBytes,
    labels: Spec.Labels ?? {},
  }));
}

/** The nodes that the swarm counts as down, which it does when one has said nothing for 15 s. */
export class DownNodes {
  #known: ReadonlySet<string> = new Set();

  /** Names of those that were not down when this was asked before. One whose name another has, too, is not told. */
  newAmong(nodes: readonly SwarmNode[]): readonly string[] {
    const down = nodes.filter(({ state }) => state === 'down');
    const fresh = down.filter(({ id }) => !this.#known.has(id)).map(({ name }) => name);
    // What cannot be asked for at the moment has not come back.
    if (nodes.length > 0) this.#known = new Set(down.map(({ id }) => id));
    return fresh.filter((name) => nodes.filter((node) => node.name === name).length === 1);
  }
}

/** As the engine's API has it. */
interface ApiNode {
  readonly ID: string;
  readonly Spec: { readonly Availability: string; readonly Labels?: Readonly<Record<string, string>> };
  readonly Description: {
    readonly Hostname: string;
    readonly Platform: { readonly Architecture: string };
    readonly Resources: { readonly NanoCPUs: number; readonly MemoryBytes: number };
  };
  readonly Status: { readonly State: string };
}
