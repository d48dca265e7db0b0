// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type { LabConfig } from '../lab/config/schema.ts';
import type { LabContext } from '../lab/context.ts';
import { packageNames } from '../lab/image/packages.ts';
import { obtainArtefacts } from '../lab/lifecycle.ts';
import { startTasks } from '../lab/remote/start-tasks.ts';
import type { TaskEngine } from '../lab/remote/task-engine.ts';
import { withRunLock } from '../lab/run-lock.ts';
import { openSwarm } from '../lab/swarm/open.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import { endLab } from '../lab/vm/running.ts';
import { siblingStateDir } from '../lab/vm/state.ts';
import { type Workload, workloadsDirectory } from './definition.ts';
import { LocalLab, RemoteLab } from './lab.ts';
import { runWorkloads, type WorkloadsRequest, type WorkloadsResult } from './run.ts';

export interface InLabRequest extends WorkloadsRequest {
  /** Default: that of the settings. */
  readonly fileSystem?: string;
}

/** Run workloads in a lab beside the user's own, named after it, which ends with them unless it is to be kept. */
export async function runWorkloadsInLab(
  context: LabContext,
  { fileSystem, ...request }: InLabRequest,
  { keep }: { readonly keep: boolean },
): Promise<WorkloadsResult> {
  const lab = await workloadContext(context, request.workloads, fileSystem);
  return await withRunLock([lab], async () => {
    try {
      const artefacts = await obtainArtefacts(lab);
      return await runWorkloads(lab, artefacts, [new LocalLab(artefacts)], request);
    } finally {
      if (!keep) await endLab(lab, lab.name, lab.stateDir, { keepLogs: true });
    }
  });
}

/** Run workloads in tasks of the swarm of which the engine of this machine is a manager: in so many VMs. */
export async function runWorkloadsOnSwarm(
  context: LabContext,
  request: InLabRequest,
  shards: number,
): Promise<WorkloadsResult> {
  return await runWorkloadsElsewhere(context, request, shards, await openSwarm(context));
}

/** Run workloads in VMs of tasks that `engine` starts. */
export async function runWorkloadsElsewhere(
  context: LabContext,
  { fileSystem, ...request }: InLabRequest,
  tasks: number,
  engine: TaskEngine,
): Promise<WorkloadsResult> {
  const lab = await workloadContext(context, request.workloads, fileSystem);
  return await runOnTasks(lab, await obtainArtefacts(lab), request, tasks, engine);
}

/** `lab`: as workloads need it. */
export async function runOnTasks(
  lab: LabContext,
  artefacts: BootArtefacts,
  request: WorkloadsRequest,
  tasks: number,
  engine: TaskEngine,
): Promise<WorkloadsResult> {
  const { joinTimeout } = lab.config.swarm;
  await using run = await startTasks(lab, engine, { tasks, artefacts, deploy: 'mounts', joinTimeout });
  await run.vms.first(lab);
  const labs = run.vms.all.map(async (vm) => new RemoteLab(await vm));
  // One may be given up before anybody waits for it.
  for (const one of labs) one.catch(() => undefined);
  return await runWorkloads(lab, artefacts, labs, request);
}

/** The user's lab with what these workloads need besides, as a lab beside it. */
async function workloadContext(
  context: LabContext,
  workloads: readonly Workload[],
  fileSystem: string | undefined,
): Promise<LabContext> {
  const name = `${context.name}-workloads`;
  const { config, packageRoot } = context;
  const { image } = config;
  // For the others, the image that is there anyway.
  const own = workloads.some(({ needs }) => needs.includes('packages'));
  const more = own ? await packageNames(join(workloadsDirectory(packageRoot), 'packages.yaml')) : [];
  const wanted: LabConfig = {
    ...config,
    ...(own ? { image: { ...image, size: '4G', packages: [...image.packages, ...more] } } : {}),
    // A kernel tree, its repository and its objects.
    vm: { ...config.vm, pmemSize: '3G', pmemPerNode: 1 },
    ...(fileSystem === undefined ? {} : { mount: { ...config.mount, filesystem: fileSystem } }),
  };
  return { ...context, name, stateDir: siblingStateDir(context, name), config: wanted };
}
