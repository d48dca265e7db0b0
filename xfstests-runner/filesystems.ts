// SPDX-License-Identifier: BSD-3-Clause

import { LabError } from '../lab/errors.ts';

/** Devices a run may format: every pmem device of the guest, grouped as the lab mounts them. */
export interface RunDevices {
  /** Devices of the test file system; the first one is the one that is mounted. */
  readonly test: readonly string[];
  readonly scratch: readonly string[];
}

/** How one kind of file system is made, mounted and called by xfstests. */
export interface FileSystemProfile {
  /** Name on the command line. */
  readonly name: string;
  /** Type as the kernel mounts it: xfstests' FSTYP. */
  readonly fstyp: string;
  /** Whether zus must be running. */
  readonly needsServer: boolean;
  /** Text of MOUNT_OPTIONS and TEST_FS_MOUNT_OPTS, '' for none. */
  readonly mountOptions: string;
  /** Arguments of `mkfs -t FSTYP --` that go before the device, for a file system over `devices`. */
  mkfsOptions(devices: readonly string[]): readonly string[];
}

const profiles: readonly FileSystemProfile[] = [
  {
    name: 'zpmfs',
    fstyp: 'zpmfs',
    needsServer: true,
    mountOptions: '',
    mkfsOptions: (devices) => devices.slice(1).map((device) => `--device=${device}`),
  },
  {
    name: 'ext4-dax',
    fstyp: 'ext4',
    needsServer: false,
    // What xfstests itself adds for ext4, and dax, which it must be told: its own default would be replaced.
    mountOptions: '-o acl,user_xattr,dax=always',
    // ext4 lies on one device: the first.
    mkfsOptions: () => [],
  },
];

export const FILE_SYSTEMS: readonly string[] = profiles.map((profile) => profile.name);

export function fileSystemProfile(name: string): FileSystemProfile {
  const profile = profiles.find((candidate) => candidate.name === name);
  if (profile === undefined) {
    throw new LabError(`There is no file system '${name}' to test.`, {
      hint: `Take one of ${FILE_SYSTEMS.join(', ')}.`,
    });
  }
  return profile;
}
