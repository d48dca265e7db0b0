// SPDX-License-Identifier: BSD-3-Clause

import type Docker from 'dockerode';
import { LabError } from '../errors.ts';
import { findEngine, noEngineError } from '../runtime/engine.ts';
import { type EngineInfo, requireManager } from './requirements.ts';

/** The engine of this machine, which has to be a manager of a swarm. Throws a `LabError` that says what it is instead. */
export async function findManager(): Promise<{ readonly manager: Docker; readonly address: string }> {
  const { engine, tried } = await findEngine(process.env);
  if (engine === undefined) throw noEngineError(tried);
  const { docker: manager, address } = engine;
  requireManager(address, (await manager.info()) as EngineInfo);
  return { manager, address };
}

/** An engine of another node that answers. Throws a `LabError` with its address. */
export async function connectEngine(address: string): Promise<Docker> {
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
