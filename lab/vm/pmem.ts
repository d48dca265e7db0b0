// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { artefactKey } from '../cache-directory.ts';
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

/** Backing files whose NVDIMMs carry an fsdax namespace. */
export interface PreparedPmem {
  /** Hash of what decides on them: the sizes. */
  readonly key: string;
  /** In the order of the topology's NVDIMMs. */
  readonly files: readonly string[];
}

const kind = 'pmem';

function inputsOf({ nvdimms }: Topology): readonly string[] {
  return [recipe, ...nvdimms.map(({ node, size }) => `${node}:${size}`)];
}

/** Of the files for these NVDIMMs. */
export function pmemKey(topology: Topology): string {
  return artefactKey(kind, inputsOf(topology));
}

/**
 * Backing files for a machine. A fresh NVDIMM is raw, without DAX; `ndctl` in a guest makes the namespace, which then stays in the
 * file. Made once for a set of sizes, and copied for every lab.
 */
export async function obtainPmemFiles(
  context: LabContext,
  machine: {
    readonly topology: Topology;
    readonly kernel: string;
    readonly image: GuestImage;
    /** Asked for when they have to be made. */
    accelerator(): Promise<Accelerator>;
  },
): Promise<PreparedPmem> {
  const { topology } = machine;
  const { key, directory } = await context.cache.obtain(kind, inputsOf(topology), context, async (made) => {
    context.progress.update('fsdax namespaces');
    await prepare(context, machine, made);
  });
  return { key, files: topology.nvdimms.map((nvdimm) => join(directory, fileName(nvdimm))) };
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
  const accelerator = await machine.accelerator();
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
    accelerator,
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
    kvm: accelerator === 'kvm',
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
