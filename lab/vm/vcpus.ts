// SPDX-License-Identifier: BSD-3-Clause

/** The VM as its QEMU tells of it, and its vCPUs bound to CPUs of the host. */

import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { monitorCommand } from './monitor.ts';
import { type VmState, vmPaths } from './state.ts';

const cpusSchema = z.array(z.object({ 'cpu-index': z.int(), 'thread-id': z.int() }));
const versionSchema = z.object({ qemu: z.object({ major: z.int(), minor: z.int(), micro: z.int() }) });

function monitorOf(stateDir: string): string {
  const paths = vmPaths(stateDir);
  return join(paths.directory, paths.monitorSocket);
}

export async function qemuVersion(stateDir: string): Promise<string> {
  const { qemu } = versionSchema.parse(await monitorCommand(monitorOf(stateDir), 'query-version'));
  return `${qemu.major}.${qemu.minor}.${qemu.micro}`;
}

/** CPUs of this machine: their model, and how many. */
export function hostCpu(): { readonly cpu: string; readonly cpus: number } {
  const all = cpus();
  return { cpu: all[0]?.model ?? '', cpus: all.length };
}

/** Bind each vCPU to a CPU of the host of its own. Gives what was done, or why it could not be. */
export async function pinVcpus(stateDir: string, state: VmState): Promise<string> {
  // Its threads have other numbers here.
  if (state.runtime !== 'host') return 'no: the VM runs in a container';
  const allowed = allowedCpus(await readFile('/proc/self/status', 'utf8'));
  if (allowed.length < state.cpus) return `no: ${state.cpus} vCPUs on ${allowed.length} CPUs of the host`;
  const vcpus = cpusSchema.parse(await monitorCommand(monitorOf(stateDir), 'query-cpus-fast'));
  const pairs = vcpus.map((vcpu) => ({ cpu: allowed[vcpu['cpu-index']], thread: vcpu['thread-id'] }));
  for (const { cpu, thread } of pairs) {
    const bound = await execa('taskset', ['--cpu-list', '--pid', `${cpu}`, `${thread}`], { reject: false });
    if (bound.exitCode !== 0) return `no: taskset says ${bound.stderr || bound.shortMessage}`;
  }
  return `each to a CPU of the host: ${pairs.map(({ cpu }) => cpu).join(', ')}`;
}

/** CPUs that this process may run on, of /proc/self/status. */
export function allowedCpus(status: string): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1];
  return (list?.split(',') ?? []).flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  });
}
