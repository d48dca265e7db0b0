// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { LabContext } from '../context.ts';
import { LabError } from '../errors.ts';
import type { GuestImage } from '../image/build.ts';
import { labelOfLab, labelOfRole } from '../runtime/labels.ts';
import { ConsoleLog, lastLines, lineOfInit } from './console.ts';
import { type Accelerator, qemuCommand } from './qemu.ts';
import type { SshConnection } from './ssh.ts';
import { type NumaNode, type Nvdimm, type PmemDevice, planTopology, type Topology } from './topology.ts';

/** Raised when what is prepared changes in a way that sizes do not show. */
const recipe = 'fsdax, map=mem, 1';

const preparedLine = lineOfInit('pmem prepared: (\\d+)');
const mebibyte = 2 ** 20;

/**
 * Backing files whose NVDIMMs carry an fsdax namespace. A fresh NVDIMM is raw, without DAX; `ndctl` in a guest makes the
 * namespace, which then stays in the file. Made once for a set of sizes, and copied for every lab.
 */
export async function obtainPmemFiles(
  context: LabContext,
  machine: {
    readonly topology: Topology;
    readonly kernel: string;
    readonly image: GuestImage;
    readonly accelerator: Accelerator;
  },
): Promise<readonly string[]> {
  const { topology } = machine;
  const sizes = topology.nvdimms.map((nvdimm) => `${nvdimm.node}:${nvdimm.size}`);
  const artefact = await context.cache.obtain('pmem', [recipe, ...sizes], context, async (directory) => {
    context.progress.update('fsdax namespaces');
    await prepare(context, machine, directory);
  });
  return topology.nvdimms.map((nvdimm) => join(artefact.directory, fileName(nvdimm)));
}

/** Copies of their own for a lab: shared blocks where the file system can, else without the holes. */
export async function copyPmemFiles(
  files: readonly string[],
  target: (index: number) => string,
  signal: AbortSignal,
): Promise<string[]> {
  const copies: string[] = [];
  for (const [index, file] of files.entries()) {
    await execa('cp', ['--reflink=auto', '--sparse=auto', '--', file, target(index)], {
      cancelSignal: signal,
    });
    copies.push(target(index));
  }
  return copies;
}

/** The guest's pmem devices, in the order of their numbers. */
export async function guestPmemDevices(ssh: SshConnection, signal: AbortSignal): Promise<PmemDevice[]> {
  const { stdout } = await ssh.exec(['sh', '-c', 'grep -H . /sys/block/pmem*/device/numa_node'], { signal });
  return [...stdout.matchAll(/^\/sys\/block\/pmem(\d+)\/device\/numa_node:(\d+)$/gm)]
    .map(([, number, node]) => ({ number: Number(number), node: Number(node) }))
    .sort((a, b) => a.number - b.number)
    .map(({ number, node }) => ({ path: `/dev/pmem${number}`, node }));
}

function fileName(nvdimm: Nvdimm): string {
  return `pmem${nvdimm.index}`;
}

async function prepare(
  context: LabContext,
  machine: Parameters<typeof obtainPmemFiles>[1],
  directory: string,
): Promise<void> {
  const files: string[] = [];
  for (const nvdimm of machine.topology.nvdimms) {
    const path = join(directory, fileName(nvdimm));
    await using file = await open(path, 'wx');
    await file.truncate(nvdimm.size);
    files.push(path);
  }
  const scratch = join(context.stateDir, 'pmem-preparation');
  await mkdir(scratch, { recursive: true });
  const consoleLog = new ConsoleLog(join(scratch, 'console.log'));
  await using _ = { [Symbol.asyncDispose]: () => rm(scratch, { recursive: true, force: true }) };
  const limit = AbortSignal.timeout(context.config.vm.bootTimeout * 1000);
  const command = qemuCommand({
    accelerator: machine.accelerator,
    topology: enoughMemory(context, machine.topology),
    kernel: machine.kernel,
    rootDisk: machine.image.disk,
    pmemFiles: files,
    kernelArguments: ['zufs.prepare-pmem'],
    consoleLog: consoleLog.path,
    monitorSocket: undefined,
    consoleSocket: undefined,
    ssh: undefined,
  });
  const background = await context.runtime.start(command, {
    cwd: scratch,
    labels: { [labelOfLab]: context.name, [labelOfRole]: 'pmem-preparation' },
    mounts: [
      { path: machine.kernel, writable: false },
      { path: machine.image.disk, writable: false },
      { path: directory, writable: true },
    ],
    tools: 'vm',
    logFile: join(scratch, 'qemu.log'),
    kvm: machine.accelerator === 'kvm',
  });
  try {
    // The guest ends QEMU itself.
    await background.wait(AbortSignal.any([context.signal, limit]));
  } catch (error) {
    if (context.signal.aborted || !limit.aborted) throw error;
  } finally {
    await background.stop(0);
  }
  await consoleLog.read();
  if (Number(preparedLine.exec(consoleLog.text)?.[1]) === files.length) return;
  throw new LabError(
    `The NVDIMMs could not be given fsdax namespaces${limit.aborted ? ` within ${context.config.vm.bootTimeout} s` : ''}. Last lines of the guest:\n${lastLines(consoleLog.text)}`,
  );
}

/** The same NVDIMMs on the least memory: the page structures of all pmem, and room to run ndctl. */
function enoughMemory(context: LabContext, topology: Topology): Topology {
  const pmem = topology.nvdimms.reduce((sum, nvdimm) => sum + nvdimm.size, 0);
  const memory = Math.min(topology.memory, topology.nodes.length * 256 * mebibyte + pmem / 32);
  const small = planTopology({ ...context.config.vm, cpus: 1, memory: `${Math.ceil(memory / mebibyte)}M` });
  const nodes: readonly NumaNode[] = small.nodes;
  return { ...small, nodes, nvdimms: topology.nvdimms };
}
