// SPDX-License-Identifier: BSD-3-Clause

import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { LabContext } from './context.ts';
import { ensureMounts } from './deploy/filesystem.ts';
import type { MountedFileSystem } from './deploy/mounts.ts';
import { bundleForGuest, deployServer } from './deploy/server.ts';
import { obtainImage } from './image/build.ts';
import { buildKernel } from './kernel/build.ts';
import { withLock } from './lock.ts';
import { requireNotEnded } from './run-lock.ts';
import { type BootArtefacts, type BootOptions, bootVm } from './vm/boot.ts';
import type { GuestVm } from './vm/guest.ts';
import { endLab, findLab, type RunningLab, requireLab } from './vm/running.ts';
import type { VmState } from './vm/state.ts';

export interface BootedLab {
  readonly vm: GuestVm;
  readonly state: VmState;
  /** False when it ran already, from the same kernel, image and settings. */
  readonly booted: boolean;
}

/** Kernel and image of the settings, from the cache or built. */
export async function obtainArtefacts(context: LabContext): Promise<BootArtefacts> {
  const kernel = await buildKernel(context);
  const image = await context.step('Image', (step) => obtainImage(step));
  return { kernel, image };
}

/**
 * The context's lab with its VM up: the one that runs, if it is healthy, trusted and what the settings ask for, else a new one.
 * A failed boot leaves nothing running. Throws when the lab was ended under the run that has it.
 */
export async function ensureVm(
  context: LabContext,
  artefacts: BootArtefacts,
  options: BootOptions = {},
): Promise<BootedLab> {
  return await context.step('VM', async (step) => {
    await requireNotEnded(step);
    await mkdir(step.stateDir, { recursive: true });
    const lock = join(step.stateDir, 'up.lock');
    return await withLock(lock, `another zufs-lab that starts the lab '${step.name}'`, step, async () => {
      const machine = machineKey(step, artefacts, options);
      const found = await findLab(step);
      if (found !== undefined) {
        const why = await whyUnfit(found, machine);
        if (why === undefined) return { vm: found.vm, state: found.state, booted: false };
        step.progress.note(`The lab '${step.name}' ${why}: starting it anew.`);
        await found.vm[Symbol.asyncDispose]();
      }
      // Also what a killed zufs-lab left behind.
      const keep = { keepLogs: true, keepPmem: options.keepPmem ?? false };
      await endLab(step, step.name, step.stateDir, keep);
      const { vm, state } = await bootVm(step, artefacts, { ...options, machineKey: machine });
      step.progress.note(`Guest ready ${state.readyAfter} s after its kernel's start.`);
      return { vm, state, booted: true };
    });
  });
}

/** Why a lab's VM is not what is asked for; undefined when it is. */
async function whyUnfit({ vm, state }: RunningLab, machine: string): Promise<string | undefined> {
  const health = await vm.health();
  if (health.state !== 'running') return `is ${describeHealth[health.state]}`;
  if (state.distrusted !== undefined) return `was given up by a run of tests (${state.distrusted})`;
  return state.machine === machine ? undefined : 'runs another kernel, image or machine';
}

/**
 * Kill the VM of the context's lab, as a loss of power would, and boot another over the same memory: ready for what is there to be
 * mounted, with the server where the settings' file system needs it.
 */
export async function crashVm(context: LabContext, artefacts: BootArtefacts): Promise<BootedLab> {
  const { background, vm } = await requireLab(context);
  await background.stop(0);
  await vm[Symbol.asyncDispose]();
  const lab = await ensureVm(context, artefacts, { keepPmem: true });
  if (isServed(context)) await ensureServed(context, lab.vm);
  return lab;
}

/** The kernel's own file systems (ext4 as the yardstick) need no server. */
function isServed({ config: { server, mount } }: LabContext): boolean {
  return server.filesystems.includes(mount.filesystem);
}

/** The server deployed and running, and the settings' file systems mounted from it. */
export async function ensureMounted(
  context: LabContext,
  lab: BootedLab,
): Promise<readonly MountedFileSystem[]> {
  if (isServed(context)) await ensureServed(context, lab.vm);
  return await context.step('Mount', (step) => ensureMounts(step, lab.vm, lab.state));
}

/** The server deployed and running, for whoever makes file systems and mounts them. */
export async function ensureServed(
  context: LabContext,
  vm: GuestVm,
  bundled?: Promise<string>,
): Promise<void> {
  await context.step('Server', (step) => deployServer(step, vm, bundled));
}

/** A VM with the server running; that is bundled while the VM comes up. */
export async function ensureServedVm(context: LabContext, artefacts: BootArtefacts): Promise<BootedLab> {
  const bundled = bundleForGuest(context);
  // Heard of when there is a VM.
  bundled.catch(() => undefined);
  const lab = await ensureVm(context, artefacts);
  await ensureServed(context, lab.vm, bundled);
  return lab;
}

export const describeHealth = {
  running: 'up',
  panicked: 'panicked',
  'qemu-ended': 'dead (its QEMU has ended)',
  'node-lost': 'gone with the machine that it was on',
  unreachable: 'unreachable (it runs, but SSH does not answer)',
} as const;

/** All that a running VM cannot change any more. */
function machineKey(context: LabContext, artefacts: BootArtefacts, options: BootOptions): string {
  const { bootTimeout, ...machine } = context.config.vm;
  const all = [artefacts.kernel.key, artefacts.image.key, machine, options.pmem ?? true];
  return createHash('sha256').update(JSON.stringify(all)).digest('hex').slice(0, 20);
}
