// SPDX-License-Identifier: BSD-3-Clause

import type Docker from 'dockerode';
import type { LabConfig } from '../lab/config/schema.ts';
import type { LabContext } from '../lab/context.ts';
import { LabError } from '../lab/errors.ts';
import { stateRoot } from '../lab/paths.ts';
import { obtainBuilderImage } from '../lab/runtime/builder-image.ts';
import { findEngine, noEngineError } from '../lab/runtime/engine.ts';
import { HostRuntime } from '../lab/runtime/host.ts';
import { requireManager } from '../lab/swarm/requirements.ts';
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
  const { engine, tried } = await findEngine(process.env);
  if (engine === undefined) throw noEngineError(tried);
  const { docker: manager, address } = engine;
  // Before the long work.
  requireManager(address, (await manager.info()) as Parameters<typeof requireManager>[1]);
  const others = await Promise.all(config.swarm.engines.map(connect));
  await using host = new HostRuntime(context.name, stateRoot(process.env));
  const base = await context.step('Builder image', (step) =>
    obtainBuilderImage(manager, host, cacheRoot, step),
  );
  const swarm = new SwarmEngine({ manager, address, others, base, settings: swarmSettings(config) });
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

/** An engine that answers. Throws a `LabError` with its address. */
async function connect(address: string): Promise<Docker> {
  const { default: DockerClient } = await import('dockerode');
  const url = URL.parse(address);
  const where: Docker.DockerOptions | undefined =
    url?.protocol === 'unix:'
      ? { socketPath: url.pathname }
      : url?.protocol === 'ssh:'
        ? { protocol: 'ssh', host: url.hostname, port: url.port || 22, username: url.username }
        : undefined;
  if (where === undefined)
    throw new LabError(`swarm.engines: ${address} is neither unix://… nor ssh://user@host.`);
  const docker = new DockerClient(where);
  try {
    await docker.version();
  } catch (error) {
    throw new LabError(
      `The engine at ${address} (swarm.engines) does not answer, so its node cannot get the image.`,
      {
        cause: error,
      },
    );
  }
  return docker;
}
