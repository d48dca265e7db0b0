// SPDX-License-Identifier: BSD-3-Clause

import prettyBytes from 'pretty-bytes';
import { LabError } from '../errors.ts';
import type { SwarmNode, SwarmSettings } from './types.ts';

/** What an engine says of itself, as far as it matters here (`docker info`). */
export interface EngineInfo {
  /** Name of its machine. */
  readonly Name?: string;
  readonly Swarm?: {
    readonly LocalNodeState?: string;
    readonly ControlAvailable?: boolean;
    readonly NodeID?: string;
  };
}

/** Of an engine that is to start services. Throws a `LabError` with what is wrong. */
export function requireManager(address: string, { Swarm: swarm }: EngineInfo): void {
  if (swarm?.LocalNodeState !== 'active') {
    throw new LabError(`The engine at ${address} is in no swarm.`, {
      hint: 'Make one with `docker swarm init`, and have the other machines join it.',
    });
  }
  if (swarm.ControlAvailable !== true) {
    throw new LabError(
      `The engine at ${address} is a worker of its swarm, and only managers start services.`,
      {
        hint: 'Run this on a manager, or make this node one with `docker node promote`.',
      },
    );
  }
}

/** The engine's names of the architectures that the lab's VMs are for, by Node's. */
const architectures: Readonly<Record<string, readonly string[]>> = {
  x64: ['x86_64', 'amd64'],
  arm64: ['aarch64', 'arm64'],
};

/**
 * The nodes that a task can be placed on: ready, of this architecture, as large as what it asks for, with the labels that are
 * asked for. Throws a `LabError` that says what the last of these left none of.
 */
export function usableNodes(
  nodes: readonly SwarmNode[],
  settings: SwarmSettings,
  architecture: string = process.arch,
): readonly SwarmNode[] {
  const narrow = (
    left: readonly SwarmNode[],
    fits: (node: SwarmNode) => boolean,
    why: (node: SwarmNode) => string,
  ): readonly SwarmNode[] => {
    const fitting = left.filter(fits);
    if (fitting.length > 0) return fitting;
    throw new LabError(`No node of the swarm can take a task: ${left.map(why).join(', ')}.`);
  };
  const ready = narrow(
    nodes,
    ({ state, availability }) => state === 'ready' && availability === 'active',
    ({ name, state, availability }) => `${name} is ${state === 'ready' ? availability : state}`,
  );
  const wanted = architectures[architecture] ?? [architecture];
  const same = narrow(
    ready,
    (node) => wanted.includes(node.architecture),
    ({ name, architecture: other }) => `${name} is ${other}, and the image ${wanted[0]}`,
  );
  const labelled = narrow(
    same,
    ({ labels }) => Object.entries(settings.labels).every(([key, value]) => labels[key] === value),
    ({ name }) => `${name} has not the labels of swarm.labels`,
  );
  const { cpus, memory } = settings;
  return narrow(
    labelled,
    (node) => node.cpus >= cpus && node.memory >= memory,
    (node) =>
      `${node.name} has ${node.cpus} CPUs and ${bytes(node.memory)}, and a task asks for ${cpus} and ${bytes(memory)}`,
  );
}

/** The gateway of a run is a task on its own node. Throws a `LabError` when that one takes none. */
export function requireRoomForGateway(nodes: readonly SwarmNode[], { Swarm: swarm }: EngineInfo): void {
  const own = nodes.find(({ id }) => id === swarm?.NodeID);
  if (own === undefined || own.availability === 'active') return;
  throw new LabError(
    `The manager ${own.name} is set to ${own.availability}, and the gateway of a run is a task on it.`,
    {
      hint: `Make it active (docker node update --availability active ${own.name}), and keep the others off it with swarm.labels.`,
    },
  );
}

/** How many tasks each of these nodes has room for: as many as the smallest. */
export function tasksPerNode(nodes: readonly SwarmNode[], { cpus, memory }: SwarmSettings): number {
  return Math.min(...nodes.map((node) => Math.floor(Math.min(node.cpus / cpus, node.memory / memory))));
}

/**
 * Of the nodes that tasks can be placed on, and the engines that get the image. Throws a `LabError` that names nodes without it: each
 * task on one would be turned away there.
 */
export function requireReached(nodes: readonly SwarmNode[], engines: readonly EngineInfo[]): void {
  const reached = new Set(engines.map(({ Swarm: swarm }) => swarm?.NodeID));
  const others = nodes.filter(({ id }) => !reached.has(id)).map(({ name }) => name);
  if (others.length === 0) return;
  throw new LabError(`The image of the tasks cannot be brought to ${others.join(', ')}.`, {
    hint: 'Add the engine of each node to swarm.engines, or choose nodes with swarm.labels.',
  });
}

function bytes(count: number): string {
  return prettyBytes(count, { binary: true });
}
