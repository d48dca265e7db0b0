// SPDX-License-Identifier: BSD-3-Clause

import type { LabConfig } from '../config/schema.ts';
import { LabError } from '../errors.ts';

export interface NumaNode {
  readonly id: number;
  /** vCPUs, as QEMU writes ranges: `0-1`; none for a node of memory alone. */
  readonly cpus: string | undefined;
  /** Bytes. */
  readonly memory: number;
}

/** One emulated NVDIMM. Which `/dev/pmem` it becomes, the guest says: QEMU lists them in an order of its own. */
export interface Nvdimm {
  readonly index: number;
  readonly node: number;
  /** Bytes. */
  readonly size: number;
}

/** Which part of the machine belongs to which node. */
export interface Topology {
  readonly cpus: number;
  /** Bytes. */
  readonly memory: number;
  readonly nodes: readonly NumaNode[];
  readonly nvdimms: readonly Nvdimm[];
}

const unit: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** Bytes of a size as the settings write it (`512M`, `4G`). */
export function parseSize(text: string): number {
  const match = /^(\d+)([KMGT]?)$/.exec(text);
  if (match === null) throw new TypeError(`not a size: ${text}`);
  return Number(match[1]) * unit[match[2]];
}

const mebibyte = 2 ** 20;
/** The alignment of an nvdimm region (the kernel's MEMREMAP_COMPAT_ALIGN_MAX): no namespace fills a region that breaks it. */
const regionAlignment = 16 * mebibyte;
const smallestNvdimm = 32 * mebibyte;
/** Below this the kernel and sshd do not come up on a node. */
const smallestNode = 64 * mebibyte;

/** Spread vCPUs and memory evenly over the nodes; what does not divide goes to the first ones. */
export function planTopology(settings: LabConfig['vm']): Topology {
  const memory = Math.floor(parseSize(settings.memory) / mebibyte) * mebibyte;
  const pmemSize = parseSize(settings.pmemSize);
  if (pmemSize % regionAlignment !== 0 || pmemSize < smallestNvdimm) {
    throw new LabError(
      `vm.pmemSize is ${settings.pmemSize}: an NVDIMM is a multiple of 16M, and at least 32M.`,
    );
  }
  const perNode = Math.floor(memory / settings.nodes / mebibyte) * mebibyte;
  if (perNode < smallestNode) {
    throw new LabError(
      `vm.memory is ${settings.memory}, too little for ${settings.nodes} node(s) of at least 64M.`,
    );
  }
  const nodes: NumaNode[] = [];
  let firstCpu = 0;
  for (let id = 0; id < settings.nodes; id++) {
    const count = Math.floor(settings.cpus / settings.nodes) + (id < settings.cpus % settings.nodes ? 1 : 0);
    const lastCpu = firstCpu + count - 1;
    nodes.push({
      id,
      cpus: count === 0 ? undefined : count === 1 ? `${firstCpu}` : `${firstCpu}-${lastCpu}`,
      memory: id === 0 ? memory - perNode * (settings.nodes - 1) : perNode,
    });
    firstCpu += count;
  }
  const nvdimms = nodes.flatMap((node) =>
    Array.from({ length: settings.pmemPerNode }, (_, at) => ({
      index: node.id * settings.pmemPerNode + at,
      node: node.id,
      size: pmemSize,
    })),
  );
  return { cpus: settings.cpus, memory, nodes, nvdimms };
}

/** A pmem device of the guest, and its node. */
export interface PmemDevice {
  readonly path: string;
  readonly node: number;
}

/** The devices of the nth file system: one of every node that has any. */
export function devicesAcrossNodes(devices: readonly PmemDevice[], nth: number): string[] {
  const nodes = [...new Set(devices.map(({ node }) => node))].sort((a, b) => a - b);
  return nodes.flatMap((node) => {
    const own = devices.filter((device) => device.node === node);
    return nth < own.length ? [own[nth].path] : [];
  });
}
