// SPDX-License-Identifier: BSD-3-Clause

import { type FileSystemProfile, type RunDevices, sourceOf } from './filesystems.ts';

export interface LocalConfigInput {
  readonly fileSystem: FileSystemProfile;
  readonly devices: RunDevices;
  readonly testDirectory: string;
  readonly scratchMount: string;
  /** Directory in the guest that `check` writes its results to. */
  readonly resultBase: string;
  /** The kernel can report leaks. */
  readonly kmemleak: boolean;
  /** Seconds for tests that are made to run for a while; undefined: their own default. */
  readonly soak: number | undefined;
}

/**
 * Text of xfstests' `local.config`: plain assignments that `check` and every test source. FSTYP is set here because
 * `check` knows no option for a type that it has no name for.
 */
export function localConfig(input: LocalConfigInput): string {
  const { fileSystem, devices } = input;
  const variables: Record<string, string> = {
    FSTYP: fileSystem.fstyp,
    TEST_DEV: sourceOf(fileSystem, devices, 'test'),
    TEST_DIR: input.testDirectory,
    SCRATCH_DEV: sourceOf(fileSystem, devices, 'scratch'),
    SCRATCH_MNT: input.scratchMount,
    // Only scratch is ever formatted by `check`; the test file system is made before it starts.
    MKFS_OPTIONS: fileSystem.mkfsOptions(devices.scratch).join(' '),
    MOUNT_OPTIONS: fileSystem.mountOptions,
    TEST_FS_MOUNT_OPTS: fileSystem.mountOptions,
    RESULT_BASE: input.resultBase,
    KEEP_DMESG: 'yes',
    // The tail of a difference tells little; whole differences are in the .out.bad files.
    DIFF_LENGTH: '20',
    ...(input.soak === undefined ? {} : { SOAK_DURATION: String(input.soak) }),
    ...(input.kmemleak ? { USE_KMEMLEAK: 'yes' } : {}),
  };
  const lines = Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}`);
  return `${lines.join('\n')}\n`;
}

/** A word of the shell that stands for exactly `value`. */
function quote(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}
