// SPDX-License-Identifier: BSD-3-Clause

/** A machine of the swarm. */
export interface SwarmNode {
  readonly id: string;
  readonly name: string;
  /** `ready`, `down`, `unknown`. */
  readonly state: string;
  /** `active`, `pause`, `drain`. */
  readonly availability: string;
  /** In the engine's words: `x86_64`. */
  readonly architecture: string;
  readonly cpus: number;
  /** Bytes. */
  readonly memory: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** What the user says of tasks. */
export interface SwarmSettings {
  /** CPUs that a task needs of its node. */
  readonly cpus: number;
  /** Bytes that a task needs of its node. */
  readonly memory: number;
  /** Labels that a node has to have: `kvm: 'true'`. */
  readonly labels: Readonly<Record<string, string>>;
  /** Tasks at a time; 0 for all of them. */
  readonly concurrency: number;
}
