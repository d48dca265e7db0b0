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

/** Which nodes of a swarm tasks can be placed on. */
export interface UsableNodes {
  readonly usable: readonly SwarmNode[];
  /** Of each other one, why not. */
  readonly leftOut: readonly string[];
}

/**
 * The nodes that a task can be placed on: ready, of this architecture, as large as what it asks for, with the labels that are
 * asked for. Throws a `LabError` that says of each why not, when there is none.
 */
export function usableNodes(
  nodes: readonly SwarmNode[],
  settings: SwarmSettings,
  architecture: string = process.arch,
): UsableNodes {
  const judged = nodes.map((node) => ({ node, why: whyNotUsable(node, settings, architecture) }));
  const usable = judged.filter(({ why }) => why === undefined).map(({ node }) => node);
  const leftOut = judged.flatMap(({ why }) => why ?? []);
  if (usable.length > 0) return { usable, leftOut };
  throw new LabError(`No node of the swarm can take a task: ${leftOut.join(', ')}.`);
}

function whyNotUsable(
  { name, state, availability, architecture, labels, cpus, memory }: SwarmNode,
  asked: SwarmSettings,
  wanted: string,
): string | undefined {
  if (state !== 'ready') return `${name} is ${state}`;
  if (availability !== 'active') return `${name} is ${availability}`;
  const names = architectures[wanted] ?? [wanted];
  if (!names.includes(architecture)) return `${name} is ${architecture}, and the image ${names[0]}`;
  if (Object.entries(asked.labels).some(([key, value]) => labels[key] !== value))
    return `${name} has not the labels of swarm.labels`;
  if (cpus < asked.cpus || memory < asked.memory)
    return `${name} has ${cpus} CPUs and ${bytes(memory)}, and a task asks for ${asked.cpus} and ${bytes(asked.memory)}`;
  return undefined;
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
