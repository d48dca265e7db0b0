// SPDX-License-Identifier: BSD-3-Clause

import type { SettingsContext } from '../context.ts';
import { stateRoot } from '../paths.ts';
import { DockerRuntime } from './docker.ts';
import { findEngine, noEngineError } from './engine.ts';
import { HostRuntime } from './host.ts';
import type { Runtime } from './runtime.ts';

/**
 * The runtime that the settings ask for; `auto` is Docker when an engine answers, else the host. Builds that a killed
 * zufs-lab left behind are ended.
 */
export async function chooseRuntime(context: SettingsContext): Promise<Runtime> {
  const host = new HostRuntime(context.name, stateRoot(process.env));
  await host.reapOrphans();
  if (context.config.runtime === 'host') return host;
  const search = await findEngine(process.env);
  if (search.engine === undefined) {
    if (context.config.runtime === 'docker') throw noEngineError(search.tried);
    return host;
  }
  const docker = new DockerRuntime({
    lab: context.name,
    engine: search.engine,
    host,
    cacheRoot: context.cacheRoot,
  });
  await docker.reapOrphans();
  return docker;
}
