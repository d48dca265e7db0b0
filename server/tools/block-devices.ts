// SPDX-License-Identifier: BSD-3-Clause

/** Block devices and plain files as the tools see them: one flat range of 4 KiB blocks. */

import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename } from 'node:path';
import { CONST } from '../abi/layout.ts';
import type { WritableSource } from '../fs/zpmfs/check.ts';
import { type DeviceTable, decodeDeviceTable } from '../fs/zpmfs/device-table.ts';
import { BLOCK_SIZE, BLOCK_WORDS } from '../fs/zpmfs/format.ts';

/** Blocks read at once where one after the other is asked for. */
const AHEAD_BLOCKS = 16;

/** What a user can mend: printed as one sentence, with the exit code for it. */
export class ToolError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number) {
    super(message);
    this.name = 'ToolError';
    this.exitCode = exitCode;
  }
}

export interface OpenDevice {
  readonly path: string;
  readonly fd: number;
  readonly isBlockDevice: boolean;
  /** Bytes. */
  readonly size: number;
}

function explain(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  switch (code) {
    case 'ENOENT':
      return 'no such device or file';
    case 'EBUSY':
      return 'is in use, perhaps mounted';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

/** Open for writing with O_EXCL: a block device that is mounted says EBUSY. */
export function openDevice(file: string, writable: boolean, failureCode: number): OpenDevice {
  try {
    const isBlockDevice = statSync(file).isBlockDevice();
    const { O_RDONLY, O_RDWR, O_EXCL } = constants;
    const fd = openSync(file, (writable ? O_RDWR : O_RDONLY) | (isBlockDevice && writable ? O_EXCL : 0));
    return { path: file, fd, isBlockDevice, size: sizeOf(file, fd, isBlockDevice) };
  } catch (error) {
    throw new ToolError(`${file}: ${explain(error)}`, failureCode);
  }
}

function sizeOf(file: string, fd: number, isBlockDevice: boolean): number {
  if (!isBlockDevice) return fstatSync(fd).size;
  const name = basename(realpathSync(file));
  try {
    return Number(readFileSync(`/sys/class/block/${name}/size`, 'utf8')) * 512;
  } catch {
    // No sysfs: look for the last byte that can be read.
    const probe = Buffer.alloc(1);
    let low = 0;
    let high = 2 ** 46;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      let readable = false;
      try {
        readable = readSync(fd, probe, 0, 1, middle - 1) === 1;
      } catch {
        readable = false;
      }
      if (readable) low = middle;
      else high = middle;
    }
    return low;
  }
}

/** NUMA node of a block device, 0 where nobody says. */
export function nodeOf(device: OpenDevice): number {
  if (!device.isBlockDevice) return 0;
  const name = basename(realpathSync(device.path));
  for (const file of [`/sys/class/block/${name}/device/numa_node`, `/sys/class/block/${name}/numa_node`]) {
    try {
      return Math.max(0, Number(readFileSync(file, 'utf8')));
    } catch {
      // Not every kind of device has the attribute.
    }
  }
  return 0;
}

/** Whole blocks that a file system may use: a device is rounded down to 2 MiB. */
export function usableBlocks(device: OpenDevice): number {
  return Math.floor(device.size / CONST.ZUFS_ALLOC_ALIGN) * (CONST.ZUFS_ALLOC_ALIGN / BLOCK_SIZE);
}

export function readAt(device: OpenDevice, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  readInto(device, position, bytes);
  return bytes;
}

/** What lies behind the end of the device reads as zeroes. */
function readInto(device: OpenDevice, position: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const count = readSync(device.fd, bytes, done, bytes.length - done, position + done);
    if (count === 0) {
      bytes.fill(0, done);
      return;
    }
    done += count;
  }
}

export function writeAt(device: OpenDevice, position: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(device.fd, bytes, done, bytes.length - done, position + done);
  }
}

/** The devices of one file system, in the order of its table, as one range. */
export class DeviceSet implements WritableSource, Disposable {
  readonly table: DeviceTable;
  readonly blocks: number;
  private readonly devices: readonly OpenDevice[];
  /** Blocks that were read last: one, or several where one after the other is asked for. */
  private readonly ahead = new Uint8Array(AHEAD_BLOCKS * BLOCK_SIZE);
  private readonly views = Array.from(
    { length: AHEAD_BLOCKS },
    (_, index) => new Uint32Array(this.ahead.buffer, index * BLOCK_SIZE, BLOCK_WORDS),
  );
  private first = 0;
  private count = 0;

  constructor(table: DeviceTable, devices: readonly OpenDevice[]) {
    this.table = table;
    this.devices = devices;
    this.blocks = table.devices.reduce((sum, device) => sum + device.blocks, 0);
  }

  private locate(block: number): { device: OpenDevice; position: number; left: number } {
    let start = 0;
    for (let index = 0; index < this.devices.length; index++) {
      const { blocks } = this.table.devices[index];
      const at = block - start;
      if (at < blocks) return { device: this.devices[index], position: at * BLOCK_SIZE, left: blocks - at };
      start += blocks;
    }
    throw new RangeError(`block ${block} of ${this.blocks}`);
  }

  read(block: number): Uint32Array {
    if (block < this.first || block >= this.first + this.count) {
      const { device, position, left } = this.locate(block);
      const goesOn = block === this.first + this.count;
      this.first = block;
      this.count = goesOn ? Math.min(AHEAD_BLOCKS, left) : 1;
      readInto(device, position, this.ahead.subarray(0, this.count * BLOCK_SIZE));
    }
    return this.views[block - this.first];
  }

  write(block: number, words: Uint32Array): void {
    this.count = 0;
    const { device, position } = this.locate(block);
    writeAt(device, position, new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
  }

  flush(): void {
    for (const device of this.devices) fsyncSync(device.fd);
  }

  [Symbol.dispose](): void {
    for (const device of this.devices) closeSync(device.fd);
  }
}

/** The device table of a zpmfs, or why there is none. */
export function tableOf(device: OpenDevice): DeviceTable | string {
  if (device.size < CONST.MDT_SIZE) return 'too small for a file system';
  return decodeDeviceTable(readAt(device, 0, CONST.MDT_SIZE));
}

/** Block devices of this machine that may be the missing ones of a file system. */
function candidates(): string[] {
  try {
    return readdirSync('/sys/class/block').map((name) => `/dev/${name}`);
  } catch {
    return [];
  }
}

/**
 * Open all devices of the file system that `files` belong to. Those not named are looked for among the machine's
 * block devices. Throws `ToolError`.
 */
export function openFileSystem(files: readonly string[], writable: boolean, failureCode: number): DeviceSet {
  const opened = files.map((file) => openDevice(file, writable, failureCode));
  const [first] = opened;
  const table = tableOf(first);
  if (typeof table === 'string') throw new ToolError(`${first.path}: ${table}`, failureCode);
  const found = Array.from<OpenDevice | undefined>({ length: table.devices.length });
  const place = (device: OpenDevice, isNamed: boolean): void => {
    const own = tableOf(device);
    if (typeof own === 'string') {
      if (isNamed) throw new ToolError(`${device.path}: ${own}`, failureCode);
      return;
    }
    if (Buffer.compare(own.uuid, table.uuid) !== 0) {
      if (isNamed)
        throw new ToolError(`${device.path}: belongs to another file system than ${first.path}`, failureCode);
      return;
    }
    found[own.index] ??= device;
  };
  for (const device of opened) place(device, true);
  if (table.devices.length > opened.length) {
    for (const file of candidates()) {
      if (!found.includes(undefined)) break;
      try {
        const device = openDevice(file, writable, failureCode);
        place(device, false);
        if (!found.includes(device)) closeSync(device.fd);
      } catch (error) {
        // Devices that cannot be opened are not the ones that are missing.
        if (!(error instanceof ToolError)) throw error;
      }
    }
  }
  const devices = found.map((device, index) => {
    if (device === undefined) {
      throw new ToolError(
        `${first.path}: device ${index} of its ${table.devices.length} is missing`,
        failureCode,
      );
    }
    if (usableBlocks(device) < table.devices[index].blocks) {
      throw new ToolError(`${device.path}: is smaller than its device table says`, failureCode);
    }
    return device;
  });
  return new DeviceSet(table, devices);
}
