// SPDX-License-Identifier: BSD-3-Clause

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { LabError } from '../lab/errors.ts';

/** Devices a run may format: every pmem device of the guest, grouped as the lab mounts them. */
export interface RunDevices {
  /** Devices of the test file system; the first one is the one that is mounted. */
  readonly test: readonly string[];
  readonly scratch: readonly string[];
}

const word = z.string().regex(/^\S+$/, 'one word');

const profileSchema = z.strictObject({
  name: z.string().regex(/^[\w.-]+$/, 'letters, digits, dots and dashes'),
  type: word,
  options: word.optional(),
  mkfs: z.array(word).default([]),
  further: word.optional(),
  devices: z.boolean().default(true),
  server: z.boolean().default(false),
});

const fileSchema = z.strictObject({ filesystems: z.array(profileSchema).min(1) });

/** How one kind of file system is made, mounted and called by xfstests. */
export interface FileSystemProfile {
  /** Name on the command line. */
  readonly name: string;
  /** Type as the kernel mounts it: xfstests' FSTYP. */
  readonly fstyp: string;
  /** Whether zus must be running. */
  readonly needsServer: boolean;
  /** Whether it lies on devices that have to be formatted; else in memory, mounted from a name. */
  readonly formatted: boolean;
  /** Text of MOUNT_OPTIONS and TEST_FS_MOUNT_OPTS, '' for none. */
  readonly mountOptions: string;
  /** Arguments of `mkfs -t FSTYP --` that go before the device, for a file system over `devices`. */
  mkfsOptions(devices: readonly string[]): readonly string[];
}

/** The lab's own profiles, then those of the user's files: a later one of the same name counts. */
export function readProfiles(
  packageRoot: string,
  files: readonly string[],
): ReadonlyMap<string, FileSystemProfile> {
  const own = join(packageRoot, 'xfstests-runner', 'lists', 'filesystems.yaml');
  return new Map([own, ...files].flatMap(readFile).map((profile) => [profile.name, profile]));
}

export function fileSystemProfile(
  name: string,
  packageRoot: string,
  files: readonly string[] = [],
): FileSystemProfile {
  const profiles = readProfiles(packageRoot, files);
  const profile = profiles.get(name);
  if (profile === undefined) {
    throw new LabError(`There is no file system '${name}' to test.`, {
      hint: `Take one of ${[...profiles.keys()].join(', ')}, or describe it in a file of xfstests.filesystems.`,
    });
  }
  return profile;
}

function readFile(file: string): FileSystemProfile[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new LabError(`The file systems ${file} cannot be read: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  const parsed = fileSchema.safeParse(parse(text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new LabError(`${file}: ${issue.path.join('.')}: ${issue.message}.`, {
      hint: 'xfstests-runner/lists/filesystems.yaml says what a file system is described by.',
    });
  }
  return parsed.data.filesystems.map(({ name, type, options, mkfs, further, devices, server }) => ({
    name,
    fstyp: type,
    needsServer: server,
    formatted: devices,
    mountOptions: options === undefined ? '' : `-o ${options}`,
    mkfsOptions: (all) => [
      ...mkfs,
      ...(further === undefined ? [] : all.slice(1).map((device) => `${further}${device}`)),
    ],
  }));
}

/** What the file system under test is mounted from: its first device, or a name where it has none. */
export function sourceOf(profile: FileSystemProfile, devices: RunDevices, which: 'test' | 'scratch'): string {
  if (!profile.formatted) return `${profile.fstyp}_${which}`;
  const [device] = devices[which];
  if (device === undefined) throw new TypeError('A file system under test needs at least one device.');
  return device;
}
