// SPDX-License-Identifier: BSD-3-Clause

import type { Topology } from './topology.ts';

export type Accelerator = 'kvm' | 'tcg';

export interface QemuMachine {
  readonly accelerator: Accelerator;
  readonly topology: Topology;
  /** bzImage. */
  readonly kernel: string;
  /** Root disk, an ext4 image; what the guest writes to it is dropped at its end. Undefined: a machine without one. */
  readonly rootDisk: string | undefined;
  /** Backing files of the NVDIMMs, in the order of `topology.nvdimms`. Empty: a machine without any. */
  readonly pmemFiles: readonly string[];
  /** Kernel command line arguments after the lab's own; what follows a `--` goes to init. */
  readonly kernelArguments: readonly string[];
  /** Console output is appended to this file. */
  readonly consoleLog: string;
  /** Sockets are named relative to QEMU's working directory: their paths must stay below 108 bytes. */
  readonly monitorSocket: string | undefined;
  readonly consoleSocket: string | undefined;
  /** TCP port that reaches the guest's SSH; undefined: no network. */
  readonly ssh: { readonly address: string; readonly port: number } | undefined;
}

export const qemuBinary = 'qemu-system-x86_64';

/** All of TCG's translated code of a VM with some vCPUs; the default of 32 MiB is flushed again and again. */
const translationBuffer = 1024;
const gibibyte = 2 ** 30;
const mebibyte = 2 ** 20;

/** The command that runs a machine, one array element an argument. */
export function qemuCommand(machine: QemuMachine): string[] {
  return [
    qemuBinary,
    ...['-machine', `q35,nvdimm=${machine.pmemFiles.length > 0 ? 'on' : 'off'}`],
    // `-nodefaults` takes away the display, the CD-ROM and a network card that nobody asked for.
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    // A panic reboots at once (panic=-1), which ends QEMU; the console tells it from other ends.
    '-no-reboot',
    ...accelerator(machine),
    ...memory(machine),
    ...nvdimms(machine),
    ...rootDisk(machine),
    ...consoles(machine),
    ...network(machine),
    ...['-object', 'rng-random,id=rng,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng'],
    ...['-kernel', machine.kernel, '-append', kernelCommandLine(machine)],
  ];
}

/**
 * All that TCG has, but for two things. Fast `rep movsb` and `rep stosb`: it goes through these byte by byte, and a guest that is told
 * that they are fast copies all pages, files and pipes with them; without, copies take a half to a third of the time. And page tables of
 * five levels: it walks them by program, for each page again after each switch of address space, and no guest here needs the fifth.
 */
const emulatedCpu = 'max,-erms,-fsrm,-la57';

function accelerator(machine: QemuMachine): string[] {
  return machine.accelerator === 'kvm'
    ? ['-accel', 'kvm', '-cpu', 'host']
    : ['-accel', `tcg,thread=multi,tb-size=${translationBuffer}`, '-cpu', emulatedCpu];
}

function memory({ topology, pmemFiles }: QemuMachine): string[] {
  const pmem = pmemFiles.length === 0 ? 0 : topology.nvdimms.reduce((sum, nvdimm) => sum + nvdimm.size, 0);
  // Each hot-plug slot may be aligned up to the next GiB.
  const limit = Math.ceil((topology.memory + pmem) / gibibyte + pmemFiles.length) * gibibyte;
  const size = `${topology.memory / mebibyte}M`;
  return [
    ...['-smp', `${topology.cpus},sockets=${sockets(topology)}`],
    '-m',
    pmemFiles.length === 0 ? size : `${size},slots=${pmemFiles.length},maxmem=${limit / mebibyte}M`,
    ...topology.nodes.flatMap((node) => [
      '-object',
      `memory-backend-ram,id=ram${node.id},size=${node.memory / mebibyte}M`,
      '-numa',
      `node,nodeid=${node.id}${cpuRanges(node.cpus)},memdev=ram${node.id}`,
    ]),
  ];
}

/** A socket a node where the vCPUs divide: cores of one socket on two nodes would puzzle the guest's scheduler. */
function sockets(topology: Topology): number {
  const { length } = topology.nodes;
  return topology.cpus % length === 0 ? length : topology.cpus;
}

function cpuRanges(cpus: string | undefined): string {
  return cpus === undefined ? '' : `,cpus=${cpus}`;
}

function nvdimms({ topology, pmemFiles }: QemuMachine): string[] {
  return pmemFiles.flatMap((file, at) => {
    const { index, node, size } = topology.nvdimms[at];
    return [
      '-object',
      `memory-backend-file,id=pmem${index},share=on,mem-path=${optionValue(file)},size=${size / mebibyte}M`,
      '-device',
      `nvdimm,id=nvdimm${index},memdev=pmem${index},node=${node}`,
    ];
  });
}

function rootDisk({ rootDisk }: QemuMachine): string[] {
  if (rootDisk === undefined) return [];
  return [
    '-drive',
    `if=none,id=root,format=raw,cache=unsafe,discard=unmap,snapshot=on,file=${optionValue(rootDisk)}`,
    '-device',
    'virtio-blk-pci,drive=root',
  ];
}

function consoles(machine: QemuMachine): string[] {
  const log = optionValue(machine.consoleLog);
  const serial =
    machine.consoleSocket === undefined
      ? `file,id=console,path=${log},append=on`
      : `socket,id=console,path=${optionValue(machine.consoleSocket)},server=on,wait=off,logfile=${log},logappend=on`;
  const monitor =
    machine.monitorSocket === undefined
      ? []
      : ['-qmp', `unix:${optionValue(machine.monitorSocket)},server=on,wait=off`];
  return ['-chardev', serial, '-serial', 'chardev:console', ...monitor];
}

function network({ ssh }: QemuMachine): string[] {
  if (ssh === undefined) return [];
  return [
    '-netdev',
    `user,id=net,ipv6=off,hostfwd=tcp:${ssh.address}:${ssh.port}-10.0.2.15:22`,
    // No boot ROM: the guest never boots from the network.
    '-device',
    'virtio-net-pci,netdev=net,romfile=',
  ];
}

/** QEMU doubles a comma inside a value. */
function optionValue(value: string): string {
  return value.replaceAll(',', ',,');
}

function kernelCommandLine(machine: QemuMachine): string {
  return [
    ...['root=/dev/vda', 'rootfstype=ext4', 'rw', 'init=/sbin/zufs-init'],
    ...['console=ttyS0', 'earlyprintk=ttyS0', 'panic=-1', 'net.ifnames=0'],
    // Probing for a keyboard and for three more serial lines takes most of a second under emulation.
    ...['initcall_blacklist=i8042_init', '8250.nr_uarts=1'],
    // Only where every instruction is translated: TCG keys its translations by virtual address, so that randomised
    // libraries are translated anew at each exec, and mitigations protect nobody.
    // On a busy host the timer's interrupts come too late for the kernel's check of them, which ends in a panic; and it takes
    // the TSC for unstable, though QEMU makes it of the host's clock: the HPET, which it reads instead, costs microseconds.
    ...(machine.accelerator === 'tcg'
      ? ['norandmaps', 'nokaslr', 'mitigations=off', 'no_timer_check', 'tsc=reliable']
      : []),
    ...machine.kernelArguments,
  ].join(' ');
}
