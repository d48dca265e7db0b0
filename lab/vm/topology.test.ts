// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { devicesAcrossNodes, parseSize, planTopology } from './topology.ts';

const settings = {
  accelerator: 'auto',
  cpus: 2,
  nodes: 2,
  memory: '3G',
  pmemPerNode: 2,
  pmemSize: '1G',
  sshPort: 0,
  kernelArguments: [],
  bootTimeout: 120,
} as const;
const vm = (changes: Partial<Record<keyof typeof settings, unknown>> = {}) =>
  ({ ...settings, ...changes }) as unknown as Parameters<typeof planTopology>[0];

test('sizes are powers of 1024', () => {
  expect(['4096', '2K', '3M', '1G', '1T'].map(parseSize)).toEqual([
    4096,
    2048,
    3 * 2 ** 20,
    2 ** 30,
    2 ** 40,
  ]);
});

test('vCPUs, memory and NVDIMMs are spread evenly', () => {
  const { nodes, nvdimms } = planTopology(vm({ cpus: 4 }));
  expect(nodes).toEqual([
    { id: 0, cpus: '0-1', memory: 1536 * 2 ** 20 },
    { id: 1, cpus: '2-3', memory: 1536 * 2 ** 20 },
  ]);
  expect(nvdimms.map(({ index, node }) => [index, node])).toEqual([
    [0, 0],
    [1, 0],
    [2, 1],
    [3, 1],
  ]);
});

test('what does not divide goes to the first nodes, and all of it goes somewhere', () => {
  const { nodes } = planTopology(vm({ cpus: 5, nodes: 3, memory: '1000M' }));
  expect(nodes.map((node) => node.cpus)).toEqual(['0-1', '2-3', '4']);
  expect(nodes.reduce((sum, node) => sum + node.memory, 0)).toBe(1000 * 2 ** 20);
});

test('a node may be of memory alone', () => {
  expect(planTopology(vm({ cpus: 1 })).nodes.map((node) => node.cpus)).toEqual(['0', undefined]);
});

test('each file system takes one device of every node', () => {
  const devices = [0, 1, 0, 1].map((node, at) => ({ path: `/dev/pmem${at}`, node }));
  expect(devicesAcrossNodes(devices, 0)).toEqual(['/dev/pmem0', '/dev/pmem1']);
  expect(devicesAcrossNodes(devices, 1)).toEqual(['/dev/pmem2', '/dev/pmem3']);
  expect(devicesAcrossNodes(devices, 2)).toEqual([]);
});

test.each([
  [{ memory: '100M' }, /vm\.memory is 100M, too little for 2 node/],
  [{ pmemSize: '66M' }, /vm\.pmemSize is 66M: an NVDIMM is a multiple of 16M/],
  [{ pmemSize: '16M' }, /at least 32M/],
])('%o is refused', (changes, message) => {
  expect(() => planTopology(vm(changes))).toThrow(message);
});
