// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { LabContext } from '../lab/context.ts';
import { unpackDisk } from '../lab/remote/artefacts-file.ts';
import { protocolVersion } from '../lab/remote/hello.ts';
import { joinRun } from '../lab/remote/join.ts';
import { serveVm } from '../lab/remote/serve-vm.ts';
import { abortable } from '../lab/vm/abortable.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { fileSystemProfile } from './filesystems.ts';
import { Labs } from './in-lab.ts';
import { guestFacts } from './xfstests.ts';

export interface TaskOptions {
  /** Where the run that it is a task of waits for it. */
  readonly run: { readonly host: string; readonly port: number };
  readonly token: string;
  /** What tells the tasks of the run apart. */
  readonly task: string;
  /** Name of the machine; default: its host name. */
  readonly node?: string;
  /** What its VM is booted from. */
  readonly artefacts: BootArtefacts;
  /** Name of the profile of the file system under test. */
  readonly fileSystem: string;
}

/**
 * One task of a run: boots the context's lab, and lets the run use its VM until the run ends or is gone. Whatever the end, the lab
 * is down after it.
 */
export async function runTask(context: LabContext, options: TaskOptions): Promise<void> {
  const { signal, config, packageRoot, stateDir, progress } = context;
  const profile = fileSystemProfile(options.fileSystem, packageRoot, config.xfstests.filesystems);
  // A container of a task that has ended may stay on its node for a while: without gigabytes of disk.
  await using unpacked = await unpackDisk(options.artefacts, stateDir, signal);
  await using labs = new Labs(profile, [context], true, unpacked.artefacts);
  labs.endAll();
  const [lab] = await labs.ready(undefined);
  const { kernel, flavour, image, accelerator, cpus } = lab.state;
  const socket = await joinRun(
    options.run,
    {
      protocol: protocolVersion,
      token: options.token,
      task: options.task,
      node: options.node ?? hostname(),
      architecture: process.arch,
      machine: { kernel, flavour, image, accelerator, cpus },
      guest: await guestFacts(lab.vm, profile, signal),
      bootSeconds: lab.bootSeconds ?? 0,
      devices: { test: [...lab.devices.test], scratch: [...lab.devices.scratch] },
    },
    signal,
  );
  await mkdir(stateDir, { recursive: true });
  let broken: Error | undefined;
  const revive = async (): Promise<Vm> => {
    try {
      return (await lab.revive()).vm;
    } catch (error) {
      broken = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  };
  const session = serveVm(socket, { vm: lab.vm, revive, scratch: stateDir, progress });
  progress.note(`Joined the run at ${options.run.host}:${options.run.port}.`);
  try {
    await abortable(once(session, 'close'), signal);
  } finally {
    session.destroy();
  }
  // The run has let it go for that; failing, it is started again, maybe on a machine where it can boot one.
  if (broken !== undefined) throw broken;
}
