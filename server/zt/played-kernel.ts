// SPDX-License-Identifier: BSD-3-Clause

/**
 * Plays the kernel's part in one process: memory in the place of pmem, one or more ZTs, and commands built as fs/zuf builds
 * them, which go through the real mount table and dispatcher. Tests use it as `FakeKernel`; a ZT warms up on it.
 */

import { FLAG, MOUNT_OP, zufs_ioc_hdr, zufs_ioc_mount } from '../abi/layout.ts';
import type { FileSystem, Helpers, MountMemory, Operation, ServerFacts } from '../fs/filesystem.ts';
import type { Addon } from '../native/addon.ts';
import { COMMAND_BUFFER_SIZE, createOperation, Dispatcher, WINDOW_SIZE } from './dispatch.ts';
import { Command, type CommandOptions, KernelError, operationName } from './fake-command.ts';
import { FakeMount, type MountState } from './fake-mount.ts';
import type { Log } from './log.ts';
import { type MountDescriptor, MountTable, setU64, u64 } from './mount-table.ts';
import { MountRegistry } from './registry.ts';
import { OperationStatistics, STATISTICS_BYTES } from './statistics.ts';

export interface FakeDevice {
  readonly node: number;
  /** A multiple of 4096; real devices come in multiples of 2 MiB. */
  readonly bytes: number;
}

export interface PlayedKernelOptions {
  readonly fileSystem: FileSystem;
  /** T1 devices in order; the memory is zeroed. */
  readonly devices?: readonly FakeDevice[];
  /** Memory to use instead of new one: `devices` must add up to its length. */
  readonly memory?: { readonly address: number; readonly length: number };
  /** One ZT a CPU. */
  readonly cpus?: number;
  /** Node of each CPU; all 0 unless given. */
  readonly cpuNodes?: readonly number[];
  readonly addon: Addon;
  readonly log?: Log;
  /** Threads that help with mounts; none unless given. */
  readonly helpers?: (fileSystem: string) => Helpers;
  /** Play along with the fake kernel of another thread, over its mount, as its ZTs from number `firstZt` on. */
  readonly join?: { readonly mount: SharedMount; readonly firstZt: number };
}

/** A mount as other threads may join it; can be sent to them. */
export interface SharedMount {
  readonly registry: SharedArrayBuffer;
  readonly descriptor: MountDescriptor;
  readonly devices: readonly FakeDevice[];
  readonly state: MountState;
}

export interface FakeMountOptions {
  readonly options?: string;
  readonly readOnly?: boolean;
}

/** Bytes on both sides of the data in the window that the server must leave alone. */
const GUARD = 64;
const GUARD_BYTE = 0xa5;

/** One server thread's share: its buffers and what serves the commands in them. */
export interface FakeZt {
  readonly operation: Operation;
  readonly dispatcher: Dispatcher;
}

export class PlayedKernel implements Disposable {
  readonly addon: Addon;
  /** The devices as one flat range. */
  readonly memory: Uint8Array;
  readonly memoryAddress: number;
  /** CPU whose ZT serves what comes next. */
  cpu = 0;
  /** Byte in its page where the application's buffer starts. */
  pageOffset = 0;
  /** Called around every operation. */
  onOperation: ((when: 'before' | 'after', operation: string, error: number) => void) | null = null;
  /** What the server reported as its own defects; a test ends with this empty. */
  readonly reports: string[] = [];
  readonly statistics: SharedArrayBuffer;

  readonly #log: Log;
  readonly #zts: FakeZt[] = [];
  /** All commands of a ZT lie in the same place: only the last one built can be sent. */
  #latest: Command | null = null;
  readonly #mappings: { readonly address: number; readonly length: number }[] = [];
  readonly #table: MountTable;
  readonly #fileSystem: FileSystem;
  readonly #registry: MountRegistry;
  readonly #server: ServerFacts;
  readonly #firstZt: number;
  readonly #joined: SharedMount | null;
  readonly #devices: readonly FakeDevice[];
  readonly #descriptors = new Map<number, MountDescriptor>();

  constructor(options: PlayedKernelOptions) {
    this.addon = options.addon;
    const { addon } = this;
    const joined = options.join?.mount;
    const devices = joined?.devices ??
      options.devices ?? [{ node: 0, bytes: options.memory?.length ?? 64 << 20 }];
    const length = devices.reduce((sum, device) => sum + device.bytes, 0);
    if (options.memory !== undefined && options.memory.length !== length) {
      throw new RangeError(`devices hold ${length} bytes, the memory ${options.memory.length}`);
    }
    this.memoryAddress = joined?.descriptor.memory.address ?? options.memory?.address ?? this.#map(length);
    this.memory = new Uint8Array(addon.external(this.memoryAddress, length));
    const cpus = options.cpus ?? 1;
    const cpuNodes = options.cpuNodes ?? new Array<number>(cpus).fill(0);
    const log = options.log ?? (() => {});
    this.#log = log;
    const registry = new MountRegistry(joined?.registry);
    if (joined !== undefined) this.#descriptors.set(joined.descriptor.slot, joined.descriptor);
    this.#firstZt = options.join?.firstZt ?? 0;
    this.#joined = joined ?? null;
    this.#devices = devices;
    this.statistics = new SharedArrayBuffer(cpus * STATISTICS_BYTES);
    this.#fileSystem = options.fileSystem;
    this.#registry = registry;
    this.#server = {
      zts: cpuNodes.slice(0, cpus).map((node, cpu) => ({ cpu, node, channel: 0 })),
      statistics: this.statistics,
    };
    this.#table = new MountTable({
      server: this.#server,
      addon,
      fileSystems: [options.fileSystem],
      registry,
      cpuNodes,
      log,
      grab: () => ({ memory: memoryOf(this.memoryAddress, devices), release: () => {} }),
      announce: (descriptor) => void this.#descriptors.set(descriptor.slot, descriptor),
      withdrawn: (slot) => void this.#descriptors.delete(slot),
      ...(options.helpers === undefined ? {} : { helpers: options.helpers }),
    });
    for (let zt = 0; zt < cpus; zt++) {
      this.#zts.push(this.#createZt(zt, cpuNodes[zt], options.fileSystem, registry));
    }
  }

  #createZt(zt: number, node: number, fileSystem: FileSystem, registry: MountRegistry): FakeZt {
    const { addon } = this;
    const commandAddress = this.#map(COMMAND_BUFFER_SIZE);
    const windowAddress = this.#map(WINDOW_SIZE);
    const operation = createOperation(addon, commandAddress, windowAddress);
    const dispatcher = new Dispatcher({
      operation,
      registry,
      statistics: new OperationStatistics(addon, this.statistics, zt * STATISTICS_BYTES),
      attach: (slot) => {
        const descriptor = this.#descriptors.get(slot);
        if (descriptor === undefined) throw new Error(`mount ${slot} was not announced`);
        const { memory, shared } = descriptor;
        const server = this.#server;
        const number = this.#firstZt + zt;
        return fileSystem.attach({
          addon,
          memory,
          slot,
          shared,
          cpu: number,
          node,
          channel: 0,
          zt: number,
          server,
          log: (level, message) => this.#log(level, message),
        });
      },
      report: (message) => void this.reports.push(message),
    });
    return { operation, dispatcher };
  }

  #map(length: number): number {
    const address = this.addon.mmapAnonymous(length);
    this.#mappings.push({ address, length });
    return address;
  }

  /** Gives back the memory it took; what was given to it stays. Nothing of this kernel may be used afterwards. */
  [Symbol.dispose](): void {
    for (const { address, length } of this.#mappings.splice(0)) this.addon.munmap(address, length);
  }

  /** mount(2). Throws `KernelError`. */
  mount(options: FakeMountOptions = {}): FakeMount {
    const page = this.#mountPage(MOUNT_OP.ZUFS_M_MOUNT, options);
    setU64(page, zufs_ioc_mount.zmi_zus_zfi, 1);
    setU64(page, zufs_ioc_mount.zmi_sb_id, 1);
    this.#mountCall(page, 'mount');
    const root = { cookie: u64(page, zufs_ioc_mount.zmi_zus_ii), dpp: u64(page, zufs_ioc_mount.zmi__zi) };
    return new FakeMount(this, {
      superBlock: u64(page, zufs_ioc_mount.zmi_zus_sbi),
      root,
      capabilities: page.getUint32(zufs_ioc_mount.zmi_fs_caps, true),
      readOnly: options.readOnly ?? false,
    });
  }

  /** For other threads to join. Whoever mounted also unmounts, after they have dropped their caches. */
  share(mount: FakeMount): SharedMount {
    const descriptor = this.#descriptors.get(mount.superBlock - 1);
    if (descriptor === undefined) throw new Error('not mounted');
    return { registry: this.#registry.buffer, descriptor, devices: this.#devices, state: mount.state };
  }

  /** The mount that this kernel joined. */
  get joinedMount(): FakeMount {
    if (this.#joined === null) throw new Error('this kernel joined no mount');
    return new FakeMount(this, this.#joined.state);
  }

  /** What the main thread of the server does once a second. */
  tick(): void {
    const { addon } = this;
    for (const { slot, generation, memory, shared } of this.#descriptors.values()) {
      if (!this.#registry.claim(slot, generation)) continue;
      this.#fileSystem.tick?.({ addon, memory, shared, server: this.#server });
      this.#registry.release(slot);
    }
  }

  /** For FakeMount. */
  unmountCall(superBlock: number): void {
    const page = this.#mountPage(MOUNT_OP.ZUFS_M_UMOUNT, {});
    setU64(page, zufs_ioc_mount.zmi_zus_sbi, superBlock);
    this.#mountCall(page, 'umount');
  }

  /** For FakeMount. */
  remountCall(superBlock: number, wasReadOnly: boolean, options: FakeMountOptions): void {
    const page = this.#mountPage(MOUNT_OP.ZUFS_M_REMOUNT, options);
    setU64(page, zufs_ioc_mount.zmi_zus_sbi, superBlock);
    const flags = page.getUint32(zufs_ioc_mount.zmi_remount_flags, true);
    page.setUint32(zufs_ioc_mount.zmi_remount_flags, flags | (wasReadOnly ? FLAG.ZUFS_REM_WAS_RO : 0), true);
    this.#mountCall(page, 'remount');
  }

  #mountPage(operation: number, options: FakeMountOptions): DataView {
    const page = new DataView(new ArrayBuffer(4096));
    page.setUint16(zufs_ioc_hdr.operation, operation, true);
    const text = new TextEncoder().encode(options.options ?? '');
    page.setUint16(zufs_ioc_hdr.in_len, zufs_ioc_mount.SIZE + text.length + 1, true);
    page.setUint32(zufs_ioc_mount.zmi_po_mount_options_len, text.length, true);
    new Uint8Array(page.buffer).set(text, zufs_ioc_mount.zmi_po_mount_options);
    page.setUint32(zufs_ioc_mount.zmi_remount_flags, options.readOnly ? FLAG.ZUFS_REM_WILL_RO : 0, true);
    page.setUint16(zufs_ioc_mount.zmi_num_cpu, this.#zts.length, true);
    page.setUint16(zufs_ioc_mount.zmi_num_channels, 1, true);
    return page;
  }

  #mountCall(page: DataView, what: string): void {
    this.onOperation?.('before', what, 0);
    this.#table.handle(page);
    const error = page.getInt32(zufs_ioc_hdr.err, true);
    this.onOperation?.('after', what, error);
    if (error < 0) throw new KernelError(-error, what);
  }

  get zt(): FakeZt {
    return this.#zts[this.cpu];
  }

  /** A command on the current CPU's ZT. */
  command(options: CommandOptions): Command {
    const { zt } = this;

    if (options.data !== undefined) {
      const { offset, length } = options.data;
      zt.operation.window.fill(GUARD_BYTE, Math.max(0, offset - GUARD), offset);
      zt.operation.window.fill(GUARD_BYTE, offset + length, offset + length + GUARD);
    }
    this.#latest = new Command(zt.operation.u8, options);
    return this.#latest;
  }

  /** Data that goes with a command. */
  get window(): Uint8Array {
    return this.zt.operation.window;
  }

  /** Send it. Returns 0 or -errno; throws `BadReplyError` when the answer breaks the rules. */
  send(command: Command): number {
    if (command !== this.#latest) throw new Error('another command was built in the place of this one');
    const { zt } = this;
    const name = operationName(command.operation);
    this.onOperation?.('before', name, 0);
    zt.dispatcher.dispatch();
    this.onOperation?.('after', name, command.error);
    command.checkReply();
    if (command.data !== null)
      this.#checkGuards(command, zt.operation.window, command.data.offset, command.data.length);
    return command.error;
  }

  #checkGuards(command: Command, window: Uint8Array, offset: number, length: number): void {
    const before = window.subarray(Math.max(0, offset - GUARD), offset);
    const after = window.subarray(offset + length, offset + length + GUARD);
    if (!before.every((byte) => byte === GUARD_BYTE)) command.bad('wrote before its data in the window');
    if (!after.every((byte) => byte === GUARD_BYTE)) command.bad('wrote behind its data in the window');
  }
}

function memoryOf(address: number, devices: readonly FakeDevice[]): MountMemory {
  let offset = 0;
  const nodes = devices.map(({ node, bytes }) => {
    const range = { node, offset, length: bytes };
    offset += bytes;
    return range;
  });
  return { address, length: offset, nodes };
}
