// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import getPort from 'get-port';
import type { LabContext } from '../context.ts';
import { LabError } from '../errors.ts';
import type { GuestImage } from '../image/build.ts';
import type { Kernel } from '../kernel/build.ts';
import { labelOfLab, labelOfRole } from '../runtime/labels.ts';
import { chooseAccelerator } from './accelerator.ts';
import { BootWatch } from './boot-watch.ts';
import { PortTakenError } from './failure.ts';
import { GuestVm } from './guest.ts';
import { patience } from './patience.ts';
import { copyPmemFiles, guestPmemDevices, obtainPmemFiles, type PreparedPmem, pmemKey } from './pmem.ts';
import { type Accelerator, qemuCommand } from './qemu.ts';
import type { SshAddress, SshConnection } from './ssh.ts';
import { keyBlob, makeKeyPair, type SshKeyPair } from './ssh-key.ts';
import { removeVmFiles, type VmState, vmPaths, writeState } from './state.ts';
import { devicesAcrossNodes, type PmemDevice, planTopology, type Topology } from './topology.ts';

/** What a VM is booted from. */
export interface BootArtefacts {
  readonly kernel: Pick<Kernel, 'key' | 'bzImage' | 'flavour'>;
  readonly image: GuestImage;
  /** For the NVDIMMs of one kind of machine; those of another are prepared when it boots. */
  readonly pmem?: PreparedPmem;
}

export interface BootOptions {
  /** Default true; without NVDIMMs a VM is smaller and boots sooner. */
  readonly pmem?: boolean;
  /** Boot over the files behind the NVDIMMs as the lab's last VM left them, as after a loss of power. */
  readonly keepPmem?: boolean;
  /** Goes on record with the VM's state, for whoever asks later whether it is the one that is wanted. */
  readonly machineKey?: string;
}

/** What the NVDIMMs of the settings' machine start from: what the artefacts have for it, else what the cache has, or gets. */
export async function obtainPmem(
  context: LabContext,
  artefacts: BootArtefacts,
  accelerator: () => Promise<Accelerator> = async () => {
    await context.runtime.prepare('vm', context);
    return await chooseAccelerator(context, artefacts.kernel.bzImage);
  },
): Promise<PreparedPmem> {
  const topology = planTopology(context.config.vm);
  if (artefacts.pmem?.key === pmemKey(topology)) return artefacts.pmem;
  const { kernel, image } = artefacts;
  const machine = { topology, accelerator, kernel: kernel.bzImage, image };
  return await obtainPmemFiles(withPatience(context, kernel.flavour), machine);
}

const loopback = '127.0.0.1';
/** A port that was free when asked for may be gone when QEMU binds it: another one then. */
const portAttempts = 3;

/**
 * Boot a VM and give it back once it answers on SSH; its state is then on record for later commands. The lab must have no VM.
 * However it fails, and when the user interrupts, QEMU has ended and its files are gone but for the logs.
 * Throws `GuestPanicError`, `QemuEndedError`, `BootTimeoutError`, `SshUnreachableError`, `PortTakenError`.
 */
export async function bootVm(
  labContext: LabContext,
  artefacts: BootArtefacts,
  options: BootOptions = {},
): Promise<{ readonly vm: GuestVm; readonly state: VmState }> {
  const context = withPatience(labContext, artefacts.kernel.flavour);
  await context.runtime.prepare('vm', context);
  const topology = planTopology(context.config.vm);
  const accelerator = await chooseAccelerator(context, artefacts.kernel.bzImage);
  const withPmem = options.pmem ?? true;
  const prepared = withPmem ? (await obtainPmem(labContext, artefacts, async () => accelerator)).files : [];
  const paths = vmPaths(context.stateDir);
  try {
    await mkdir(paths.directory, { recursive: true });
    await keepPreviousLog(paths.consoleLog);
    const pmemFiles =
      options.keepPmem === true
        ? prepared.map((_, index) => paths.pmem(index))
        : await copyPmemFiles(prepared, paths.pmem, context.signal);
    const machine = { topology, accelerator, pmemFiles, artefacts };
    return await bootOnFreePort(context, machine, options);
  } catch (error) {
    await removeVmFiles(context.stateDir, { keepLogs: true });
    throw error;
  }
}

/** `vm.bootTimeout` is that of a release kernel. */
function withPatience(context: LabContext, flavour: Kernel['flavour']): LabContext {
  const { config } = context;
  const bootTimeout = config.vm.bootTimeout * patience(flavour);
  return { ...context, config: { ...config, vm: { ...config.vm, bootTimeout } } };
}

interface Machine {
  readonly topology: Topology;
  readonly accelerator: Accelerator;
  readonly pmemFiles: readonly string[];
  readonly artefacts: BootArtefacts;
}

async function bootOnFreePort(
  context: LabContext,
  machine: Machine,
  options: BootOptions,
): Promise<{ readonly vm: GuestVm; readonly state: VmState }> {
  const { sshPort } = context.config.vm;
  if (sshPort !== 0) {
    await requireFreePort(sshPort);
    return await boot(context, machine, sshPort, options);
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await boot(context, machine, await getPort({ host: loopback }), options);
    } catch (error) {
      if (!(error instanceof PortTakenError) || attempt === portAttempts) throw error;
    }
  }
}

async function requireFreePort(port: number): Promise<void> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, loopback, resolve);
    });
  } catch (error) {
    throw new PortTakenError(port, error);
  } finally {
    server.close();
  }
}

async function boot(
  context: LabContext,
  machine: Machine,
  port: number,
  options: BootOptions,
): Promise<{ readonly vm: GuestVm; readonly state: VmState }> {
  const { artefacts, topology } = machine;
  const paths = vmPaths(context.stateDir);
  const keys = makeKeyPair(`zufs-lab-${context.name}`);
  const address: SshAddress = {
    host: loopback,
    port,
    privateKey: keys.privateKey,
    hostKey: artefacts.image.hostKey,
  };
  await writeSshFiles(context.stateDir, keys, address);
  await rm(paths.qemuLog, { force: true });

  const command = qemuCommand({
    ...machine,
    kernel: artefacts.kernel.bzImage,
    rootDisk: artefacts.image.disk,
    kernelArguments: [
      `zufs.name=${context.name}`,
      `zufs.key=${keyBlob(keys.publicKey)}`,
      ...context.config.vm.kernelArguments,
    ],
    consoleLog: paths.consoleLog,
    monitorSocket: paths.monitorSocket,
    consoleSocket: paths.consoleSocket,
    ssh: { address: loopback, port },
  });
  const background = await context.runtime.start(command, {
    cwd: paths.directory,
    labels: { [labelOfLab]: context.name, [labelOfRole]: 'vm' },
    mounts: [
      { path: artefacts.kernel.bzImage, writable: false },
      { path: artefacts.image.disk, writable: false },
    ],
    tools: 'vm',
    logFile: paths.qemuLog,
    kvm: machine.accelerator === 'kvm',
    ports: [port],
  });
  try {
    const state: VmState = {
      name: context.name,
      runtime: context.runtime.kind,
      id: background.id,
      startedAt: new Date().toISOString(),
      accelerator: machine.accelerator,
      sshPort: port,
      hostKey: artefacts.image.hostKey,
      kernel: artefacts.kernel.key,
      flavour: artefacts.kernel.flavour,
      image: artefacts.image.key,
      machine: options.machineKey ?? '',
      cpus: topology.cpus,
      memory: topology.memory,
      testDevices: [],
      scratchDevices: [],
    };
    await writeState(context.stateDir, state);
    const watch = new BootWatch(context, background, port);
    const readyAfter = await watch.untilReady();
    const connection = await watch.untilSsh(address);
    const pmem = await requirePmem(connection, machine, context.signal);
    const complete = {
      ...state,
      readyAfter,
      testDevices: devicesAcrossNodes(pmem, 0),
      scratchDevices: devicesAcrossNodes(pmem, 1),
    };
    await writeState(context.stateDir, complete);
    const { name } = context;
    const vm = new GuestVm({ name, stateDir: context.stateDir, background, address, connection });
    return { vm, state: complete };
  } catch (error) {
    await background.stop(0);
    throw error;
  }
}

async function requirePmem(
  connection: SshConnection,
  machine: Machine,
  signal: AbortSignal,
): Promise<PmemDevice[]> {
  const devices = await guestPmemDevices(connection, signal);
  if (devices.length === machine.pmemFiles.length) return devices;
  throw new LabError(
    `The VM has ${machine.pmemFiles.length} NVDIMMs, but its guest only ${devices.length} pmem devices.`,
    { hint: 'Does the kernel have CONFIG_BLK_DEV_PMEM, CONFIG_NVDIMM_PFN and CONFIG_ACPI_NFIT?' },
  );
}

async function keepPreviousLog(consoleLog: string): Promise<void> {
  await rename(consoleLog, consoleLog.replace(/\.log$/, '.previous.log')).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    },
  );
}

/** The key, and what `ssh -F` and `scp -F` need to reach the guest by hand. */
async function writeSshFiles(stateDir: string, keys: SshKeyPair, address: SshAddress): Promise<void> {
  const paths = vmPaths(stateDir);
  await writeFile(paths.privateKey, keys.privateKey, { mode: 0o600 });
  const host = `[${address.host}]:${address.port}`;
  await writeFile(paths.knownHosts, `${host} ${address.hostKey}\n`);
  const quoted = (path: string): string => `"${path}"`;
  await writeFile(
    paths.sshConfig,
    `${[
      'Host guest',
      `  HostName ${address.host}`,
      `  Port ${address.port}`,
      '  User root',
      `  IdentityFile ${quoted(paths.privateKey)}`,
      '  IdentitiesOnly yes',
      `  UserKnownHostsFile ${quoted(paths.knownHosts)}`,
      '  StrictHostKeyChecking yes',
    ].join('\n')}\n`,
  );
}
