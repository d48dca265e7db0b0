// SPDX-License-Identifier: BSD-3-Clause

import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { LabContext } from '../context.ts';
import { guestFacts } from '../deploy/guest-facts.ts';
import { LabError } from '../errors.ts';
import { abortable } from '../vm/abortable.ts';
import { type StoredArtefacts, unpackArtefacts } from './artefacts-file.ts';
import { protocolVersion } from './hello.ts';
import { joinRun, knockAtRun } from './join.ts';
import type { ReviveRequest } from './messages.ts';
import { endOf, type RevivedVm, serveVm } from './serve-vm.ts';
import type { Deployment } from './task-engine.ts';
import { TaskLab } from './task-lab.ts';

export interface TaskOptions {
  /** Where the run that it is a task of waits for it. */
  readonly run: { readonly host: string; readonly port: number };
  readonly token: string;
  /** What tells the tasks of the run apart. */
  readonly task: string;
  /** Name of the machine; default: its host name. */
  readonly node?: string;
  /** What its VM is booted from. */
  readonly artefacts: StoredArtefacts;
  readonly deploy: Deployment;
}

/**
 * One task of a run: boots the context's lab, and lets the run use its VM until the run lets it go. Throws `LabError` when the run
 * does not want it, or is gone without a word. Whatever the end, the lab is down after it.
 */
export async function runTask(context: LabContext, options: TaskOptions): Promise<void> {
  const { signal, stateDir, progress } = context;
  const admitted = knockAtRun(options.run, options.token, signal);
  // Heard of once the disk is there.
  admitted.catch(() => undefined);
  // A container of a task that has ended may stay on its node for a while: without gigabytes of disk.
  await using unpacked = await unpackArtefacts(options.artefacts, stateDir, signal);
  await admitted;
  const { deploy } = options;
  await using lab = new TaskLab(context, unpacked.artefacts, deploy);
  const { vm, bootSeconds, ...booted } = await lab.boot();
  const socket = await joinRun(
    options.run,
    {
      protocol: protocolVersion,
      token: options.token,
      task: options.task,
      node: options.node ?? hostname(),
      architecture: process.arch,
      ...booted,
      guest: await guestFacts(vm, deploy !== 'nothing', signal),
      bootSeconds,
    },
    signal,
  );
  await mkdir(stateDir, { recursive: true });
  let broken: Error | undefined;
  const revive = async (how: ReviveRequest): Promise<RevivedVm> => {
    try {
      return await lab.revive(how);
    } catch (error) {
      broken = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  };
  const session = serveVm(socket, {
    vm,
    revive,
    bindVcpus: () => lab.bindVcpus(),
    scratch: stateDir,
    progress,
  });
  progress.note(`Joined the run at ${options.run.host}:${options.run.port}.`);
  try {
    const end = await abortable(endOf(session), signal);
    // The run has let it go for that; failing, it is started again, maybe on a machine where it can boot one.
    if (broken !== undefined) throw broken;
    const { host, port } = options.run;
    if (end === 'cut') throw new LabError(`The link to the run at ${host}:${port} was cut.`);
  } finally {
    session.destroy();
  }
}
