// SPDX-License-Identifier: BSD-3-Clause

/** zpmfs-dump: show what is on the media, for people or as JSON. */

import { parseArgs } from 'node:util';
import * as f from '../fs/zpmfs/format.ts';
import { decodeSuperblock } from '../fs/zpmfs/superblock.ts';
import { formatUuid, runTool } from './arguments.ts';
import { type DeviceSet, openFileSystem, ToolError } from './block-devices.ts';
import { print } from './output.ts';

const FAILED = 1;

const USAGE = `usage: zpmfs-dump [options] DEVICE...

Shows the superblock, the devices and the state of the journal.
  -i, --inode NUMBER  that inode and where its blocks are too; may be given several times
  -j, --json          as JSON
  -h, --help          this text
`;

interface Extent {
  readonly fileBlock: number;
  readonly block: number;
  readonly blocks: number;
  readonly flags: string;
}

interface Name {
  readonly name: string;
  readonly inode: number;
}

function u64(words: Uint32Array, at: number): number {
  return words[at] + words[at + 1] * f.TWO_32;
}

/** Nanoseconds since the epoch as a date. */
function date(words: Uint32Array, at: number): string {
  const nanoseconds = BigInt.asIntN(64, BigInt(words[at]) | (BigInt(words[at + 1]) << 32n));
  const time = new Date(Number(nanoseconds / 1_000_000n));
  return Number.isNaN(time.getTime()) ? `${nanoseconds} ns` : time.toISOString();
}

/** Entries of a map below `node`, in order of file blocks. Stops where the media make no sense. */
function* walkMap(
  devices: DeviceSet,
  node: number,
  level: number,
  first: number,
): Generator<[number, number, number]> {
  if (node <= 0 || node >= devices.blocks || level < 1 || level > f.MAP_MAX_HEIGHT) return;
  const words = Uint32Array.from(devices.read(node));
  for (let index = 0; index < f.MAP_ENTRIES; index++) {
    const tag = words[index * 2 + 1];
    if (tag === 0) continue;
    const at = first + index * f.MAP_ENTRIES ** (level - 1);
    if (level === 1) yield [at, words[index * 2], tag];
    else if (tag === f.MAP_NODE + level - 1) yield* walkMap(devices, words[index * 2], level - 1, at);
  }
}

function extentsOf(devices: DeviceSet, root: number, height: number): Extent[] {
  const extents: { fileBlock: number; block: number; blocks: number; flags: string }[] = [];
  for (const [fileBlock, block, tag] of walkMap(devices, root, height, 0)) {
    const flags = [tag & f.MAP_UNWRITTEN ? 'unwritten' : '', tag & f.MAP_SHARED ? 'shared' : '']
      .filter(Boolean)
      .join(' ');
    const last = extents.at(-1);
    const goesOn =
      last !== undefined &&
      last.fileBlock + last.blocks === fileBlock &&
      last.block + last.blocks === block &&
      last.flags === flags;
    if (goesOn) last.blocks++;
    else extents.push({ fileBlock, block, blocks: 1, flags });
  }
  return extents;
}

function namesOf(devices: DeviceSet, block: number, tag: number, level = 0): Name[] {
  if (block <= 0 || block >= devices.blocks || level > f.DIR_MAX_LEVELS) return [];
  const words = Uint32Array.from(devices.read(block));
  const names: Name[] = [];
  if ((tag & f.DIR_KIND_MASK) === f.DIR_NODE) {
    for (let slot = 0; slot < f.DIR_ENTRIES; slot++) {
      if (slot > 0 && words[slot * 2] === words[slot * 2 - 2]) continue;
      names.push(...namesOf(devices, words[slot * 2], words[slot * 2 + 1], level + 1));
    }
    return names;
  }
  const bytes = new Uint8Array(words.buffer);
  for (let at = f.DL_RECORDS; at < f.BLOCK_WORDS; ) {
    const shape = words[at + f.DR_SHAPE];
    const length = shape & 0xffff;
    if (length < f.DR_MIN_WORDS) break;
    const start = (at + f.DR_NAME) * 4;
    const name = Buffer.from(bytes.subarray(start, start + ((shape >>> 16) & 0xff))).toString();
    if (words[at + f.DR_INO] !== 0) names.push({ name, inode: words[at + f.DR_INO] });
    at += length;
  }
  return names;
}

function describeInode(devices: DeviceSet, number: number) {
  const record = Uint32Array.from(devices.read(f.SUPER_BLOCK)).subarray(f.SB_INODE_TABLE);
  let block = 0;
  for (const [at, found] of walkMap(devices, record[f.X_MAP_ROOT], record[f.X_MAP_HEIGHT], 0)) {
    if (at === number >>> 4) block = found;
  }
  if (block === 0) throw new ToolError(`there is no inode ${number}`, FAILED);
  const start = (number & 15) * f.INODE_WORDS;
  const words = Uint32Array.from(devices.read(block).subarray(start, start + f.INODE_WORDS));
  if (words[f.X_STATE] !== f.INODE_IN_USE) throw new ToolError(`inode ${number} is free`, FAILED);
  const mode = words[f.I_FLAGS_MODE] >>> 16;
  const type = mode & f.S_IFMT;
  return {
    number,
    at: `block ${block}, byte ${start * 4}`,
    mode: mode.toString(8).padStart(6, '0'),
    links: words[f.I_NLINK],
    size: u64(words, f.I_SIZE),
    blocks: u64(words, f.I_BLOCKS),
    uid: words[f.I_UID],
    gid: words[f.I_GID],
    generation: words[f.I_GENERATION],
    born: date(words, f.X_BIRTH),
    modified: date(words, f.I_MTIME),
    changed: date(words, f.I_CTIME),
    accessed: date(words, f.I_ATIME),
    attributeBlocks: words[f.X_XATTR_BLOCKS],
    extents: type === f.S_IFREG ? extentsOf(devices, words[f.X_MAP_ROOT], words[f.X_MAP_HEIGHT]) : [],
    names: type === f.S_IFDIR ? namesOf(devices, words[f.I_DIR_ROOT], words[f.I_DIR_ROOT + 1]) : [],
  };
}

function describe(devices: DeviceSet, inodes: readonly number[]) {
  const words = Uint32Array.from(devices.read(f.SUPER_BLOCK));
  const superblock = decodeSuperblock(words);
  if (typeof superblock === 'string') throw new ToolError(superblock, FAILED);
  let pending = 0;
  for (let slot = 0; slot < superblock.journalSlots; slot++) {
    const first = superblock.journalFirst + slot * f.JOURNAL_SLOT_BLOCKS;
    if (devices.read(first)[f.J_MAGIC] === f.JOURNAL_MAGIC) pending++;
  }
  return {
    superblock: {
      ...superblock,
      uuid: formatUuid(superblock.uuid),
      created: date(words, f.SB_CREATED),
      state: words[f.SB_STATE] === f.STATE_CLEAN ? 'clean' : 'in use',
      mounts: words[f.SB_MOUNTS],
      inodeTableBlocks: u64(words, f.SB_INODE_TABLE + f.I_SIZE) / f.BLOCK_SIZE,
      journalSlotsInUse: pending,
    },
    devices: devices.table.devices.map((device) => ({ ...device, uuid: formatUuid(device.uuid) })),
    inodes: inodes.map((number) => describeInode(devices, number)),
  };
}

function printFileSystem(shown: ReturnType<typeof describe>): void {
  const line = (key: string, value: unknown): void => print(`${key.padEnd(18)} ${String(value)}\n`);
  for (const [key, value] of Object.entries(shown.superblock)) line(key, value);
  shown.devices.forEach((device, index) => {
    line(`device ${index}`, `${device.uuid}, ${device.blocks} blocks, node ${device.node}`);
  });
  for (const { extents, names, ...inode } of shown.inodes) {
    print(`\ninode ${inode.number}\n`);
    for (const [key, value] of Object.entries(inode)) line(key, value);
    for (const { fileBlock, block, blocks, flags } of extents)
      line('extent', `${fileBlock}: ${block} +${blocks} ${flags}`.trimEnd());
    for (const { name, inode: target } of names) line('name', `${JSON.stringify(name)} ${target}`);
  }
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      inode: { type: 'string', short: 'i', multiple: true },
      json: { type: 'boolean', short: 'j' },
      help: { type: 'boolean', short: 'h' },
    },
  });
}

/** Returns the exit code: 0, or 1 when there is nothing to show. */
export function main(argv: readonly string[]): number {
  return runTool('zpmfs-dump', () => {
    let parsed: ReturnType<typeof parse>;
    try {
      parsed = parse(argv);
    } catch (error) {
      throw new ToolError(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`, FAILED);
    }
    const { values, positionals } = parsed;
    if (values.help) {
      print(USAGE);
      return 0;
    }
    if (positionals.length === 0) throw new ToolError(`no device given\n${USAGE}`, FAILED);
    const inodes = (values.inode ?? []).map((text) => {
      if (!/^\d+$/.test(text)) throw new ToolError(`"${text}" is not the number of an inode`, FAILED);
      return Number(text);
    });
    using devices = openFileSystem(positionals, false, FAILED);
    const shown = describe(devices, inodes);
    if (values.json) print(`${JSON.stringify(shown, null, 2)}\n`);
    else printFileSystem(shown);
    return 0;
  });
}
