// SPDX-License-Identifier: BSD-3-Clause

import type { LabConfig } from '../config/schema.ts';
import type { LabContext } from '../context.ts';
import { LabError } from '../errors.ts';
import { stateRoot } from '../paths.ts';
import { obtainBuilderImage } from '../runtime/builder-image.ts';
import { HostRuntime } from '../runtime/host.ts';
import { parseSize } from '../vm/topology.ts';
import { SwarmEngine } from './engine.ts';
import { answeringEngines, findManager } from './manager.ts';
import { nodesForTasks } from './nodes.ts';
import type { SwarmSettings } from './types.ts';

/**
 * The swarm of which the engine of this machine is a manager, for the tasks of one run. Throws a `LabError` when none of its nodes
 * can take tasks, before any long work.
 */
export async function openSwarm(context: LabContext): Promise<SwarmEngine> {
  const { config, cacheRoot } = context;
  requireNoKvm(config);
  const { manager, address } = await findManager();
  const others = await answeringEngines(config.swarm.engines, (line) => context.progress.note(line));
  const settings = swarmSettings(config);
  await nodesForTasks(
    manager,
    others.map(({ docker }) => docker),
    settings,
  );
  await using host = new HostRuntime(context.name, stateRoot(process.env));
  const base = await context.step('Builder image', (step) =>
    obtainBuilderImage(manager, host, cacheRoot, step),
  );
  return new SwarmEngine({ manager, address, others: others.map((other) => other.address), base, settings });
}

/** Swarm gives the containers of its services no devices. */
function requireNoKvm({ vm }: LabConfig): void {
  if (vm.accelerator !== 'kvm') return;
  throw new LabError('vm.accelerator=kvm cannot be had in a swarm: its tasks get no /dev/kvm, and emulate.', {
    hint: 'Leave the setting at auto, or run on this machine.',
  });
}

function swarmSettings({ swarm: { cpus, memory, labels, concurrency } }: LabConfig): SwarmSettings {
  return {
    cpus,
    memory: parseSize(memory),
    labels: Object.fromEntries(labels.map((label) => label.split('='))),
    concurrency,
  };
}
