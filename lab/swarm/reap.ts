// SPDX-License-Identifier: BSD-3-Clause

import { hostname } from 'node:os';
import type Docker from 'dockerode';
import { buildLabels, isOrphan } from '../runtime/labels.ts';
import type { Labels } from '../runtime/runtime.ts';

const labelOfRun = 'zufs-lab.run';
/** Machine of the zufs-lab that a run belongs to: whether that one lives can be told on that machine alone. */
const labelOfHost = 'zufs-lab.host';

/** Of all that a run has in the swarm. */
export function runLabels(lab: string, run: string): Labels {
  return { ...buildLabels(lab), [labelOfRun]: run, [labelOfHost]: hostname() };
}

/** A thing in the engine that carries labels, and how to remove it. */
interface Labelled {
  readonly labels: Labels | undefined;
  remove(): Promise<unknown>;
}

/** Remove what runs of this machine left in the swarm whose zufs-lab was killed before it could. Gives how much that was. */
export async function reapRuns(manager: Docker): Promise<number> {
  const filters = { label: [labelOfRun, `${labelOfHost}=${hostname()}`] };
  // Services first: their tasks hold the rest.
  const found: Labelled[] = [
    ...(await manager.listServices({ filters })).map(({ ID, Spec }) => ({
      labels: Spec?.Labels,
      remove: () => manager.getService(ID).remove(),
    })),
    ...(await manager.listContainers({ all: true, filters })).map(({ Id, Labels: labels }) => ({
      labels,
      remove: () => manager.getContainer(Id).remove({ force: true }),
    })),
    ...((await manager.listSecrets({ filters })) as readonly ApiSecret[]).map(({ ID, Spec }) => ({
      labels: Spec.Labels,
      remove: () => manager.getSecret(ID).remove(),
    })),
    ...(await manager.listNetworks({ filters })).map(({ Id, Labels: labels }) => ({
      labels,
      remove: () => manager.getNetwork(Id).remove(),
    })),
  ];
  const orphans = found.filter(({ labels }) => labels !== undefined && isOrphan(labels));
  for (const orphan of orphans) {
    // One that is still in use goes with the next run.
    await orphan.remove().catch(() => undefined);
  }
  return orphans.length;
}

interface ApiSecret {
  readonly ID: string;
  readonly Spec: { readonly Labels?: Labels };
}
