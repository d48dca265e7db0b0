// SPDX-License-Identifier: BSD-3-Clause

/** mkfs.zpmfs: make an empty zpmfs on one or several devices, or in plain files. */

import { closeSync, existsSync, fsyncSync, openSync, statSync, truncateSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CONST } from '../abi/layout.ts';
import { BLOCK_SIZE } from '../fs/zpmfs/format.ts';
import { MakeError, makeFileSystem } from '../fs/zpmfs/make.ts';
import { formatSize, formatUuid, parseSize, parseUuid, runTool } from './arguments.ts';
import {
  nodeOf,
  type OpenDevice,
  openDevice,
  ToolError,
  tableOf,
  usableBlocks,
  writeAt,
} from './block-devices.ts';
import { print } from './output.ts';

const FAILED = 1;
/** Exit code of blkid(8) for a device with signatures of more than one kind. */
const BLKID_AMBIVALENT = 8;
/** Where other file systems and RAID leave their marks: the first and last so many bytes of a device. */
const WIPED_START = 1 << 20;
const WIPED_END = 1 << 20;

const USAGE = `usage: mkfs.zpmfs [options] DEVICE...

Several devices make one file system. A DEVICE may be a plain file.
  -d, --device DEVICE one more device, as if named at the end
  -s, --size SIZE     use SIZE (64M, 2G) of the devices; makes or resizes a plain file to it
  -L, --label LABEL   label, at most 32 bytes
  -U, --uuid UUID     UUID instead of a random one
  -q, --quiet         print nothing
  -f, --force         overwrite what blkid(8) takes for a file system or partitions, or is a zpmfs
  -h, --help          this text
`;

function prepareFile(file: string, size: number | null): void {
  const exists = existsSync(file);
  if (exists && !statSync(file).isFile()) return;
  if (size === null) {
    if (!exists) throw new ToolError(`${file}: does not exist; --size makes a plain file`, FAILED);
    return;
  }
  closeSync(openSync(file, 'a'));
  truncateSync(file, size);
}

function wipe(device: OpenDevice): void {
  const empty = new Uint8Array(WIPED_START);
  writeAt(device, 0, empty.subarray(0, Math.min(WIPED_START, device.size)));
  const end = Math.min(WIPED_END, device.size);
  writeAt(device, device.size - end, empty.subarray(0, end));
}

/** What blkid(8) finds on a device, '' for nothing, or where there is no blkid. It does not know zpmfs. */
function foreignContents(file: string): string {
  // Loaded only here: xfstests calls mkfs hundreds of times, with --force, and an emulated CPU pays for each module.
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  const probe = ['-p', '-o', 'value', '-s', 'TYPE', '-s', 'PTTYPE', file];
  // Where it lies is in root's PATH alone.
  const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` };
  const { status, stdout } = spawnSync('blkid', probe, { encoding: 'utf8', env });
  if (status === BLKID_AMBIVALENT) return 'more than one file system';
  return status === 0 ? stdout.trim().replaceAll('\n', ', ') : '';
}

/** Users name the wrong device; what is on it is not lost for that. */
function requireEmpty(file: string): void {
  if (!existsSync(file)) return;
  const device = openDevice(file, false, FAILED);
  try {
    const contents = typeof tableOf(device) === 'string' ? foreignContents(file) : 'zpmfs';
    if (contents !== '') throw new ToolError(`${file}: holds ${contents}; --force overwrites it`, FAILED);
  } finally {
    closeSync(device.fd);
  }
}

interface MakeOptions {
  readonly size: number | null;
  readonly label: string;
  readonly uuid: Uint8Array | null;
  readonly quiet: boolean;
  readonly force: boolean;
}

function make(files: readonly string[], { size, label, uuid, quiet, force }: MakeOptions): number {
  if (!force) files.forEach(requireEmpty);
  for (const file of files) prepareFile(file, files.length === 1 ? size : null);
  const devices = files.map((file) => openDevice(file, true, FAILED));
  try {
    const sizes = devices.map((device) => ({ blocks: usableBlocks(device), node: nodeOf(device) }));
    devices.forEach((device, index) => {
      if (sizes[index].blocks === 0) throw new ToolError(`${device.path}: is smaller than 2 MiB`, FAILED);
    });
    const available = sizes.reduce((sum, { blocks }) => sum + blocks, 0) * BLOCK_SIZE;
    if (size !== null && available < size - (size % CONST.ZUFS_ALLOC_ALIGN)) {
      throw new ToolError(`${files.join(' ')}: ${formatSize(available)} only`, FAILED);
    }
    for (const device of devices) wipe(device);
    const write = (block: number, bytes: Uint8Array): void => {
      let start = 0;
      for (let index = 0; index < devices.length; index++) {
        if (block < start + sizes[index].blocks) {
          writeAt(devices[index], (block - start) * BLOCK_SIZE, bytes);
          return;
        }
        start += sizes[index].blocks;
      }
    };
    const options = {
      label,
      ...(uuid === null ? {} : { uuid }),
      ...(size === null ? {} : { totalBlocks: Math.floor(size / BLOCK_SIZE) }),
    };
    const made = makeFileSystem(sizes, options, write);
    for (const device of devices) fsyncSync(device.fd);
    if (!quiet) {
      const bytes = formatSize(made.totalBlocks * BLOCK_SIZE);
      print(`zpmfs of ${bytes} on ${files.join(' ')}, UUID ${formatUuid(made.uuid)}\n`);
    }
    return 0;
  } catch (error) {
    if (error instanceof MakeError) throw new ToolError(error.message, FAILED);
    throw error;
  } finally {
    for (const device of devices) closeSync(device.fd);
  }
}

/** Returns the exit code: 0, or 1 when no file system was made. */
export function main(argv: readonly string[]): number {
  return runTool('mkfs.zpmfs', () => {
    let parsed: ReturnType<typeof parse>;
    try {
      parsed = parse(argv);
    } catch (error) {
      throw new ToolError(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`, FAILED);
    }
    const { values } = parsed;
    if (values.help) {
      print(USAGE);
      return 0;
    }
    const positionals = [...parsed.positionals, ...(values.device ?? [])];
    if (positionals.length === 0) throw new ToolError(`no device given\n${USAGE}`, FAILED);
    if (new Set(positionals).size < positionals.length)
      throw new ToolError('a device is named twice', FAILED);
    return make(positionals, {
      size: values.size === undefined ? null : parseSize(values.size, FAILED),
      label: values.label ?? '',
      uuid: values.uuid === undefined ? null : parseUuid(values.uuid, FAILED),
      quiet: values.quiet ?? false,
      force: values.force ?? false,
    });
  });
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      device: { type: 'string', short: 'd', multiple: true },
      size: { type: 'string', short: 's' },
      label: { type: 'string', short: 'L' },
      uuid: { type: 'string', short: 'U' },
      quiet: { type: 'boolean', short: 'q' },
      force: { type: 'boolean', short: 'f' },
      help: { type: 'boolean', short: 'h' },
    },
  });
}
