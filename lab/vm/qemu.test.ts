// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { type QemuMachine, qemuCommand } from './qemu.ts';

const gibibyte = 2 ** 30;

const machine: QemuMachine = {
  accelerator: 'tcg',
  topology: {
    cpus: 2,
    memory: 2 * gibibyte,
    nodes: [
      { id: 0, cpus: '0', memory: gibibyte },
      { id: 1, cpus: '1', memory: gibibyte },
    ],
    nvdimms: [
      { index: 0, node: 0, size: gibibyte },
      { index: 1, node: 1, size: gibibyte },
    ],
  },
  kernel: '/cache/bzImage',
  rootDisk: '/cache/root.ext4',
  pmemFiles: ['/lab/pmem0', '/lab/pmem1'],
  kernelArguments: ['zufs.name=default'],
  consoleLog: '/lab/console.log',
  monitorSocket: 'monitor.sock',
  consoleSocket: 'console.sock',
  ssh: { address: '127.0.0.1', port: 2222 },
};

/** Values of an option, in order. */
function values(command: readonly string[], option: string): string[] {
  return command.flatMap((word, at) => (word === option ? [command[at + 1]] : []));
}

test('nodes have their own memory, vCPUs and NVDIMMs', () => {
  const command = qemuCommand(machine);
  expect(values(command, '-numa')).toEqual([
    'node,nodeid=0,cpus=0,memdev=ram0',
    'node,nodeid=1,cpus=1,memdev=ram1',
  ]);
  expect(values(command, '-machine')).toEqual(['q35,nvdimm=on']);
  expect(values(command, '-device')).toContain('nvdimm,id=nvdimm1,memdev=pmem1,node=1');
  expect(values(command, '-object')).toContain(
    'memory-backend-file,id=pmem1,share=on,mem-path=/lab/pmem1,size=1024M',
  );
  // Room for both NVDIMMs above RAM, each aligned to the next GiB.
  expect(values(command, '-m')).toEqual(['2048M,slots=2,maxmem=6144M']);
});

test('only the loopback reaches the guest', () => {
  expect(values(qemuCommand(machine), '-netdev')).toEqual([
    'user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:2222-10.0.2.15:22',
  ]);
});

test('the root disk is never written to', () => {
  expect(values(qemuCommand(machine), '-drive')[0]).toMatch(/snapshot=on/);
});

test('randomisation, mitigations and doubts about the TSC are off under emulation alone', () => {
  const commandLine = (accelerator: 'kvm' | 'tcg') =>
    values(qemuCommand({ ...machine, accelerator }), '-append')[0].split(' ');
  const words = ['norandmaps', 'nokaslr', 'mitigations=off', 'tsc=reliable'];
  expect(commandLine('tcg')).toEqual(expect.arrayContaining(words));
  for (const word of words) expect(commandLine('kvm')).not.toContain(word);
});

test('an emulated CPU has not what would only slow it down: fast copies that are slow, a fifth level of page tables', () => {
  expect(values(qemuCommand(machine), '-cpu')).toEqual(['max,-erms,-fsrm,-la57']);
  expect(values(qemuCommand({ ...machine, accelerator: 'kvm' }), '-cpu')).toEqual(['host']);
});

test("the user's kernel arguments come last, so that they win", () => {
  const command = qemuCommand({ ...machine, kernelArguments: ['root=/dev/nonexistent', '--', 'x'] });
  expect(values(command, '-append')[0]).toMatch(/ root=\/dev\/nonexistent -- x$/);
});

test('a comma in a path does not end it', () => {
  const command = qemuCommand({ ...machine, rootDisk: '/cache/a,b/root.ext4' });
  expect(values(command, '-drive')[0]).toContain('file=/cache/a,,b/root.ext4');
});

test('a machine without pmem, disk and network is small', () => {
  const command = qemuCommand({ ...machine, pmemFiles: [], rootDisk: undefined, ssh: undefined });
  expect(values(command, '-machine')).toEqual(['q35,nvdimm=off']);
  expect(values(command, '-m')).toEqual(['2048M']);
  expect(command.join(' ')).not.toMatch(/nvdimm,|virtio-blk|netdev/);
});
