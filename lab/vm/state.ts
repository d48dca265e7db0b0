// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { SettingsContext } from '../context.ts';
import { LabError } from '../errors.ts';

/** Where a lab keeps what belongs to its VM. */
export interface VmPaths {
  readonly directory: string;
  readonly state: string;
  readonly consoleLog: string;
  readonly qemuLog: string;
  readonly privateKey: string;
  readonly sshConfig: string;
  readonly knownHosts: string;
  /** Names of sockets in `directory`. */
  readonly monitorSocket: string;
  readonly consoleSocket: string;
  pmem(index: number): string;
}

export function vmPaths(stateDir: string): VmPaths {
  const directory = join(stateDir, 'vm');
  return {
    directory,
    state: join(directory, 'state.json'),
    consoleLog: join(directory, 'console.log'),
    qemuLog: join(directory, 'qemu.log'),
    privateKey: join(directory, 'id_ed25519'),
    sshConfig: join(directory, 'ssh_config'),
    knownHosts: join(directory, 'known_hosts'),
    monitorSocket: 'monitor.sock',
    consoleSocket: 'console.sock',
    pmem: (index) => join(directory, `pmem${index}`),
  };
}

const stateSchema = z.object({
  name: z.string(),
  /** Pid or container id, with the runtime it belongs to. */
  runtime: z.enum(['host', 'docker']),
  id: z.string(),
  startedAt: z.iso.datetime(),
  accelerator: z.enum(['kvm', 'tcg']),
  sshPort: z.int(),
  /** Public key of the guest's SSH server. */
  hostKey: z.string(),
  /** Keys of the artefacts it runs. */
  kernel: z.string(),
  flavour: z.enum(['release', 'debug']),
  image: z.string(),
  /** Hash of all that a running VM cannot change any more. */
  machine: z.string(),
  /** Set once the guest was reached over SSH. */
  readyAfter: z.number().optional(),
  cpus: z.int(),
  memory: z.number(),
  /** In the guest: devices of the test and scratch file systems; empty for a machine without pmem, and until SSH answers. */
  testDevices: z.array(z.string()),
  scratchDevices: z.array(z.string()),
  /** Why nothing more is to run on it, though it runs: what a run of tests found or left there. */
  distrusted: z.string().optional(),
});

/** What a lab's VM is, for the commands that come after `up`. */
export type VmState = z.infer<typeof stateSchema>;

/** Undefined when the lab has no VM. */
export async function readState(stateDir: string): Promise<VmState | undefined> {
  const path = vmPaths(stateDir).state;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
  try {
    return stateSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new LabError(`${path} is not what this version of the lab writes.`, {
      hint: 'End the lab with: zufs-lab down',
      cause: error,
    });
  }
}

/** In one step: who reads sees the old state or the new one. */
export async function writeState(stateDir: string, state: VmState): Promise<void> {
  const path = vmPaths(stateDir).state;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.new`, `${JSON.stringify(state, undefined, 2)}\n`);
  await rename(`${path}.new`, path);
}

/**
 * From now on, who needs the lab's VM gets another, which takes the place of this one. Until then it stays as it is, for who wants to
 * look at it.
 */
export async function distrustVm({ stateDir }: SettingsContext, reason: string): Promise<void> {
  const state = await readState(stateDir);
  if (state !== undefined) await writeState(stateDir, { ...state, distrusted: reason });
}

/** What stays of a VM that has ended. */
export interface Keep {
  /** The console and QEMU's own output, for who looks for a reason. */
  readonly keepLogs: boolean;
  /** The files behind the NVDIMMs, for a new boot over them. */
  readonly keepPmem?: boolean;
}

/** Remove what belongs to the VM alone, but for what is to be kept. */
export async function removeVmFiles(stateDir: string, options: Keep): Promise<void> {
  const paths = vmPaths(stateDir);
  const kept = (name: string): boolean =>
    (options.keepLogs && name.endsWith('.log')) || (options.keepPmem === true && /^pmem\d+$/.test(name));
  if (!options.keepLogs && !options.keepPmem) {
    await rm(paths.directory, { recursive: true, force: true });
    return;
  }
  for (const name of await readdir(paths.directory).catch(() => [])) {
    if (!kept(name)) await rm(join(paths.directory, name), { recursive: true, force: true });
  }
}

/** Names of every lab that has left something in the state directory. */
export async function labNames(context: SettingsContext): Promise<string[]> {
  const entries = await readdir(dirname(context.stateDir), { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

/** The state directory of another lab. */
export function siblingStateDir(context: SettingsContext, name: string): string {
  return join(dirname(context.stateDir), name);
}
