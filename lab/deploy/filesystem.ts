// SPDX-License-Identifier: BSD-3-Clause

import type { LabContext } from '../context.ts';
import { LabError } from '../errors.ts';
import type { VmState } from '../vm/state.ts';
import type { Vm } from '../vm/vm.ts';
import { mustRun } from './guest-command.ts';
import { type MountedFileSystem, mountedFileSystems } from './mounts.ts';

/** A file system over pmem devices of the guest, and where it goes. */
export interface FileSystemPlan {
  readonly type: string;
  /** The first is the one that is named to mount(2). */
  readonly devices: readonly string[];
  readonly target: string;
}

/** Of a lab's state. */
type PlannedOver = Pick<VmState, 'name' | 'testDevices' | 'scratchDevices'>;

/** The test and scratch file systems of the settings; scratch only where a node has a second NVDIMM. */
export function plannedFileSystems(context: LabContext, state: PlannedOver): FileSystemPlan[] {
  const { filesystem: type, test, scratch } = context.config.mount;
  if (state.testDevices.length === 0) throw new LabError(`The lab '${state.name}' has no pmem to mount.`);
  const plans: FileSystemPlan[] = [{ type, devices: state.testDevices, target: test }];
  if (state.scratchDevices.length > 0) plans.push({ type, devices: state.scratchDevices, target: scratch });
  return plans;
}

/** Make a file system on its devices; what was there is lost. */
export async function makeFileSystem(vm: Vm, plan: FileSystemPlan, signal: AbortSignal): Promise<void> {
  const [first] = plan.devices;
  // Signatures of another file system would send fsck(8) and blkid(8) to the wrong one.
  await mustRun(vm, 'Old signatures could not be wiped', ['wipefs', '--all', '--quiet', ...plan.devices], {
    signal,
  });
  await mustRun(vm, `${plan.type} could not be made on ${first}`, makeCommand(plan), { signal });
}

/** `--device=` names the further devices of a file system that spans several; others take the first alone. */
function makeCommand({ type, devices: [first, ...more] }: FileSystemPlan): string[] {
  if (type === 'zpmfs') return ['mkfs.zpmfs', '-f', ...more.map((device) => `--device=${device}`), first];
  // On a small device ext4 would take smaller blocks than DAX can do with.
  return [`mkfs.${type}`, ...(type === 'ext4' ? ['-q', '-F', '-b', '4096'] : ['-f']), first];
}

export async function mountFileSystem(vm: Vm, plan: FileSystemPlan, signal: AbortSignal): Promise<void> {
  const { type, devices, target } = plan;
  await mustRun(vm, 'The mount point could not be made', ['mkdir', '-p', target], { signal });
  const options = ['ext4', 'xfs'].includes(type) ? ['-o', 'dax=always'] : [];
  await mustRun(
    vm,
    `${devices[0]} could not be mounted`,
    ['mount', '-t', type, ...options, devices[0], target],
    {
      signal,
    },
  );
}

export async function unmountFileSystem(vm: Vm, target: string, signal: AbortSignal): Promise<void> {
  await mustRun(vm, `${target} could not be unmounted`, ['umount', target], { signal });
}

/** Check without mending. Throws with what fsck found unless the file system is clean. */
export async function checkFileSystem(vm: Vm, plan: FileSystemPlan, signal: AbortSignal): Promise<void> {
  const arguments_ = plan.type === 'ext4' ? ['-f', '-n'] : ['-n'];
  await mustRun(
    vm,
    `${plan.devices[0]} is not clean`,
    [`fsck.${plan.type}`, ...arguments_, plan.devices[0]],
    { signal },
  );
}

/** Make and mount what the settings want and is not mounted yet. */
export async function ensureMounts(
  context: LabContext,
  vm: Vm,
  state: VmState,
): Promise<readonly MountedFileSystem[]> {
  const { signal, progress } = context;
  const present = await mountedFileSystems(vm, signal);
  for (const plan of plannedFileSystems(context, state)) {
    if (present.some(({ target, type }) => target === plan.target && type === plan.type)) continue;
    progress.update(`${plan.type} on ${plan.target}`);
    for (const { target, source } of present) {
      if (target === plan.target || plan.devices.includes(source))
        await unmountFileSystem(vm, target, signal);
    }
    await makeFileSystem(vm, plan, signal);
    await mountFileSystem(vm, plan, signal);
  }
  return await mountedFileSystems(vm, signal);
}

/** Unmount what the lab mounted, before the server is replaced. */
export async function unmountAll(vm: Vm, type: string, signal: AbortSignal): Promise<void> {
  for (const mount of await mountedFileSystems(vm, signal)) {
    if (mount.type === type) await unmountFileSystem(vm, mount.target, signal);
  }
}
