// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import type { LabContext } from '../context.ts';
import { chooseRuntime } from '../runtime/detect.ts';
import { isOrphan, labelOfLab, labelOfRole } from '../runtime/labels.ts';
import type { Background, Runtime } from '../runtime/runtime.ts';
import { LabNotUpError } from './failure.ts';
import { GuestVm } from './guest.ts';
import { type Keep, readState, removeVmFiles, type VmState, vmPaths } from './state.ts';

/** A lab's VM as later commands find it. It may have ended since: `vm.health()` tells. */
export interface RunningLab {
  readonly vm: GuestVm;
  readonly state: VmState;
  readonly background: Background;
}

/** The VM of the context's lab; undefined when it has none. */
export async function findLab(context: LabContext): Promise<RunningLab | undefined> {
  const state = await readState(context.stateDir);
  if (state === undefined) return undefined;
  const runtime = await runtimeOfKind(context, state.runtime);
  const started = await runtime.find({ [labelOfLab]: context.name, [labelOfRole]: 'vm' });
  const background = started.find((candidate) => candidate.id === state.id);
  if (background === undefined) return undefined;
  const paths = vmPaths(context.stateDir);
  const vm = new GuestVm({
    name: context.name,
    stateDir: context.stateDir,
    background,
    address: {
      host: '127.0.0.1',
      port: state.sshPort,
      privateKey: await readFile(paths.privateKey, 'utf8'),
      hostKey: state.hostKey,
    },
  });
  return { vm, state, background };
}

/** Like `findLab`; throws `LabNotUpError` when there is none. */
export async function requireLab(context: LabContext): Promise<RunningLab> {
  const lab = await findLab(context);
  if (lab === undefined) throw new LabNotUpError(context.name);
  return lab;
}

/**
 * End everything that runs for a lab, in whatever runtime, also when its zufs-lab was killed; a build that another zufs-lab
 * is at right now is left to it. Gives how many programs were ended.
 */
export async function endLab(
  context: LabContext,
  name: string,
  stateDir: string,
  options: Keep = { keepLogs: false },
): Promise<number> {
  let ended = 0;
  for (const runtime of await everyRuntime(context)) {
    for (const background of await runtime.find({ [labelOfLab]: name })) {
      if (background.labels[labelOfRole] === 'build' && !isOrphan(background.labels)) continue;
      if (await background.running()) ended += 1;
      await background.stop();
    }
  }
  await removeVmFiles(stateDir, options);
  return ended;
}

/** Names of the labs for which something runs, or has been left behind by a zufs-lab that was killed. */
export async function labsWithPrograms(context: LabContext): Promise<string[]> {
  const names = new Set<string>();
  for (const runtime of await everyRuntime(context)) {
    for (const { labels } of await runtime.find({})) {
      if (labels[labelOfLab] !== undefined) names.add(labels[labelOfLab]);
    }
  }
  return [...names];
}

/** A VM lives in the runtime that `up` chose, which the settings of a later command may not. */
async function runtimeOfKind(context: LabContext, kind: Runtime['kind']): Promise<Runtime> {
  if (context.runtime.kind === kind) return context.runtime;
  return await chooseRuntime({ ...context, config: { ...context.config, runtime: kind } });
}

async function everyRuntime(context: LabContext): Promise<Runtime[]> {
  const host = await runtimeOfKind(context, 'host');
  const other = await chooseRuntime({ ...context, config: { ...context.config, runtime: 'auto' } });
  return other.kind === 'host' ? [host] : [host, other];
}
