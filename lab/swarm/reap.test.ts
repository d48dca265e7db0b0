// SPDX-License-Identifier: BSD-3-Clause

import type Docker from 'dockerode';
import { expect, test } from 'vitest';
import type { Labels } from '../runtime/runtime.ts';
import { reapRuns, runLabels } from './reap.ts';

/** An engine with a service and a network of each of these labels; keeps what was removed. */
function engineWith(all: Readonly<Record<string, Labels>>) {
  const removed: string[] = [];
  const matching = (filters: { readonly label: readonly string[] }) =>
    Object.entries(all).filter(([, labels]) =>
      filters.label.every((label) => {
        const [key, value] = label.split('=');
        return value === undefined ? key in labels : labels[key] === value;
      }),
    );
  const remover = (kind: string) => (id: string) => ({ remove: async () => removed.push(`${kind} ${id}`) });
  const engine = {
    listServices: async ({ filters }: { filters: { label: string[] } }) =>
      matching(filters).map(([ID, Labels]) => ({ ID, Spec: { Labels } })),
    listContainers: async () => [],
    listSecrets: async () => [],
    listNetworks: async ({ filters }: { filters: { label: string[] } }) =>
      matching(filters).map(([Id, Labels]) => ({ Id, Labels })),
    getService: remover('service'),
    getNetwork: remover('network'),
  };
  return { engine: engine as unknown as Docker, removed };
}

test('what a killed run of this machine left goes; that of a live one, of another machine and of others stays', async () => {
  const ours = runLabels('default', 'run');
  // The same pid, started at another time.
  const orphaned = { ...ours, 'zufs-lab.owner': (ours['zufs-lab.owner'] ?? '').replace(/:\d+:/, ':1:') };
  const { engine, removed } = engineWith({
    live: ours,
    orphaned,
    elsewhere: { ...orphaned, 'zufs-lab.host': 'another' },
    foreign: {},
  });
  expect(await reapRuns(engine)).toBe(2);
  expect(removed).toEqual(['service orphaned', 'network orphaned']);
});
