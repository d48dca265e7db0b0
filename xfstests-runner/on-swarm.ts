// SPDX-License-Identifier: BSD-3-Clause

import type { LabConfig } from '../lab/config/schema.ts';
import type { LabContext } from '../lab/context.ts';
import { LabError } from '../lab/errors.ts';
import { stateRoot } from '../lab/paths.ts';
import { obtainBuilderImage } from '../lab/runtime/builder-image.ts';
import { HostRuntime } from '../lab/runtime/host.ts';
import { connectEngine, findManager } from '../lab/swarm/manager.ts';
import { nodesForTasks } from '../lab/swarm/nodes.ts';
import type { SwarmSettings } from '../lab/swarm/types.ts';
import { parseSize } from '../lab/vm/topology.ts';
import { runXfstestsElsewhere } from './elsewhere.ts';
import type { InLabRequest } from './in-lab.ts';
import { SwarmEngine } from './swarm-engine.ts';
import type { XfstestsResult } from './xfstests.ts';

/** Run xfstests in tasks of the swarm of which the engine of this machine is a manager: one for each shard. */
export async function runXfstestsOnSwarm(
  context: LabContext,
  request: InLabRequest,
): Promise<[XfstestsResult]> {
  const { shards = 1, repeat = 1, build = false, ...rest } = request;
  if (repeat > 1 || build) {
    throw new LabError('--engine swarm takes neither --repeat nor --build: every run has VMs of its own.');
  }
  const { config, cacheRoot } = context;
  const { manager, address } = await findManager();
  const others = await Promise.all(config.swarm.engines.map(connectEngine));
  const settings = swarmSettings(config);
  // Before the long work.
  await nodesForTasks(manager, others, settings);
  await using host = new HostRuntime(context.name, stateRoot(process.env));
  const base = await context.step('Builder image', (step) =>
    obtainBuilderImage(manager, host, cacheRoot, step),
  );
  const swarm = new SwarmEngine({ manager, address, others, base, settings });
  const { joinTimeout } = config.swarm;
  return [await runXfstestsElsewhere(context, { ...rest, shards, joinTimeout }, swarm)];
}

function swarmSettings({ swarm: { cpus, memory, labels, concurrency } }: LabConfig): SwarmSettings {
  return {
    cpus,
    memory: parseSize(memory),
    labels: Object.fromEntries(labels.map((label) => label.split('='))),
    concurrency,
  };
}
