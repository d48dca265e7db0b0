// SPDX-License-Identifier: BSD-3-Clause

import type Docker from 'dockerode';
import { type EngineInfo, requireReached, usableNodes } from './requirements.ts';
import type { SwarmNode, SwarmSettings } from './types.ts';

/**
 * The nodes that tasks can be placed on. Throws a `LabError` with what is wrong when there is none, or when the image cannot be
 * brought to one of them: `others` are the engines that it is copied to.
 */
export async function nodesForTasks(
  manager: Docker,
  others: readonly Docker[],
  settings: SwarmSettings,
): Promise<readonly SwarmNode[]> {
  const usable = usableNodes(await listNodes(manager), settings);
  const infos = await Promise.all([manager, ...others].map((engine) => engine.info()));
  requireReached(usable, infos as readonly EngineInfo[]);
  return usable;
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
