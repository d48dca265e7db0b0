// SPDX-License-Identifier: BSD-3-Clause

import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { CommandFailedError, LabError } from '../lab/errors.ts';
import type { TaskContext } from '../lab/runtime/runtime.ts';
import type { GuestExecOptions, GuestResult, Vm } from '../lab/vm/vm.ts';
import { type Bundle, GUEST_SCRIPTS } from './bundle.ts';
import { type FileSystemProfile, type RunDevices, sourceOf } from './filesystems.ts';

/** Where the runner's things lie in the guest: below one directory of its root disk. */
const GUEST_ROOT = '/var/lib/zufs-lab';
export const GUEST_TREE = `${GUEST_ROOT}/xfstests`;
export const GUEST_CONFIG = `${GUEST_ROOT}/local.config`;

/** Path in the guest of one of our shell programs. */
export function guestScript(name: string): string {
  return `${GUEST_TREE}/${GUEST_SCRIPTS}/${name}`;
}

/** Directory in the guest that `check` of one attempt writes to. */
export function guestResults(attempt: number): string {
  return `${GUEST_ROOT}/results-${attempt}`;
}

/** File in the guest to which is added what else `check` of that attempt is to run. */
export function guestMore(attempt: number): string {
  return `${guestResults(attempt)}.more`;
}

/** Run a program in the guest that has to succeed. */
export async function execChecked(
  vm: Vm,
  command: readonly string[],
  options: GuestExecOptions = {},
): Promise<GuestResult> {
  const result = await vm.exec(command, options);
  if (result.exitCode === 0) return result;
  const tail = (result.stderr.trim() || result.stdout.trim()).split('\n').slice(-5).join('\n');
  throw new CommandFailedError(
    `In the guest, \`${command.join(' ')}\` failed (exit code ${result.exitCode}): ${tail}`,
    { command, exitCode: result.exitCode, outputTail: tail },
  );
}

/** Unpack the bundle in the guest, unless it is there; then see whether its programs find their libraries. */
export async function deployBundle(vm: Vm, bundle: Bundle, context: TaskContext): Promise<void> {
  const { signal } = context;
  const marker = `${GUEST_TREE}/.bundle`;
  const there = await vm.exec(['cat', marker], { signal });
  if (there.exitCode === 0 && there.stdout.trim() === bundle.key) return;
  const packed = `${GUEST_ROOT}/xfstests.tar.gz`;
  // As few programs as do it: each takes a tenth of a second to be asked for in an emulated guest.
  await execChecked(vm, ['rm', '-rf', GUEST_TREE], { signal });
  await vm.upload(bundle.file, packed, context);
  await execChecked(vm, ['tar', `--one-top-level=${GUEST_TREE}`, '-xzf', packed], { signal });
  const unpacked = ['bash', guestScript('unpacked.sh'), bundle.key, packed];
  // A tree built on another release may want a newer C library than the guest has: every helper would fail in its own way.
  const lack = (await execChecked(vm, unpacked, { signal })).stdout.trim();
  if (lack === '') return;
  throw new LabError(`The xfstests tree was built for another system than the guest: ${lack}.`, {
    hint: 'Set xfstests.dir to an unbuilt tree, which the lab builds itself, or build it on Debian 12.',
  });
}

/** What a call of `check` starts from. */
export interface Preparation {
  readonly attempt: number;
  /** Text of its `local.config`. */
  readonly config: string;
  readonly profile: FileSystemProfile;
  readonly devices: RunDevices;
  readonly mounts: { readonly test: string; readonly scratch: string };
}

/**
 * See to it that the test file system is mounted where it should be from its first device, and scratch is not in the way. What is
 * mounted already as it should be stays as it is; anything else is unmounted and made anew.
 */
export async function prepareGuest(vm: Vm, preparation: Preparation, signal: AbortSignal): Promise<void> {
  const { attempt, config, profile, devices, mounts } = preparation;
  const device = sourceOf(profile, devices, 'test');
  const script = ['bash', guestScript('prepare.sh'), GUEST_CONFIG, guestResults(attempt)];
  const { stdout: mounted } = await execChecked(vm, [...script, mounts.test, mounts.scratch], {
    signal,
    input: config,
  });
  if (isOf(mounted, device, profile)) return;
  if (mounted.trim() !== '') await unmountAll(vm, mounts.test, signal);
  if (profile.formatted) {
    for (const name of devices.test) await execChecked(vm, ['wipefs', '-aq', name], { signal });
    const options = profile.mkfsOptions(devices.test);
    await execChecked(vm, ['mkfs', '-t', profile.fstyp, '--', ...options, device], { signal, input: 'y\n' });
  }
  await mountTest(vm, profile, device, mounts.test, signal);
}

/** `check` leaves the test file system unmounted: have it where it was before the run, with what the last test left in it. */
export async function mountTestAgain(
  vm: Vm,
  profile: FileSystemProfile,
  devices: RunDevices,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const device = sourceOf(profile, devices, 'test');
  if (await isMounted(vm, profile, device, directory, signal)) return;
  await mountTest(vm, profile, device, directory, signal);
}

async function isMounted(
  vm: Vm,
  profile: FileSystemProfile,
  device: string,
  directory: string,
  signal: AbortSignal,
): Promise<boolean> {
  const { stdout } = await vm.exec(['findmnt', '-n', '-o', 'SOURCE,FSTYPE', '-M', directory], { signal });
  return isOf(stdout, device, profile);
}

/** Whether that is what findmnt(8) says of the file system on this device. */
function isOf(mounted: string, device: string, { fstyp }: FileSystemProfile): boolean {
  return mounted.trim().split(/\s+/).join(' ') === `${device} ${fstyp}`;
}

async function mountTest(
  vm: Vm,
  profile: FileSystemProfile,
  device: string,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const options = profile.mountOptions.split(' ').filter((word) => word !== '');
  await execChecked(vm, ['mount', '-t', profile.fstyp, ...options, device, directory], { signal });
}

/** Whatever is mounted on a directory, layer by layer. */
async function unmountAll(vm: Vm, directory: string, signal: AbortSignal): Promise<void> {
  while ((await vm.exec(['findmnt', '-n', '-M', directory], { signal })).exitCode === 0) {
    await execChecked(vm, ['umount', directory], { signal });
  }
}

/**
 * Copy results out of the guest into `hostDirectory`: all of an attempt, or the files of one test. What belongs to the attempt as
 * a whole (`result.xml`, `check.log`) gets `label` into its name, since every attempt of a run has its own.
 */
export async function fetchResults(
  vm: Vm,
  attempt: number,
  hostDirectory: string,
  label: string,
  context: TaskContext,
  test?: string,
): Promise<void> {
  const packed = `${GUEST_ROOT}/fetch.tar.gz`;
  const base = guestResults(attempt);
  await execChecked(
    vm,
    ['bash', guestScript('pack-results.sh'), base, packed, ...(test === undefined ? [] : [test])],
    { signal: context.signal },
  );
  // There, so that it goes with the run when a dying guest keeps this from its end.
  const scratch = await mkdtemp(join(hostDirectory, '.fetch-'));
  try {
    const file = join(scratch, 'results.tar.gz');
    await vm.download(packed, file, context);
    await unpack(file, hostDirectory, label);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Unpack a tar that the guest made. The guest is not trusted with where files go: plain files below `directory` only. */
export async function unpack(file: string, directory: string, label: string): Promise<void> {
  const tar = extract();
  tar.on('entry', (header, stream, next) => {
    const place = join(directory, labelled(posix.normalize(header.name), label));
    const wanted = header.type === 'file' && place.startsWith(`${directory}/`);
    buffer(stream)
      .then(async (content) => {
        if (!wanted) return;
        await mkdir(dirname(place), { recursive: true });
        await writeFile(place, content);
      })
      .then(() => next(), next);
  });
  await pipeline(createReadStream(file), createGunzip(), tar);
}

/** `result.xml` of attempt 2 is `result-2.xml`; files of a test lie in a directory and keep their names. */
function labelled(name: string, label: string): string {
  if (name.includes('/')) return name;
  const { name: stem, ext } = posix.parse(name);
  return `${stem}-${label}${ext}`;
}
