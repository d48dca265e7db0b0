// SPDX-License-Identifier: BSD-3-Clause

/** Reads `zufs-abi.yaml` and checks that its numbers fit together. */

import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { structs as annotations, externalSizes, statfs64 } from './annotations.ts';

export interface Field {
  readonly name: string;
  /** C type as the published interface has it, e.g. `void *`, `struct zufs_str`, `__u64`. */
  readonly type: string;
  /** Number of elements; null for a plain member, 0 for a flexible or zero-length array. */
  readonly count: number | null;
  /** Width in bits of a bit field. */
  readonly bits: number | null;
  readonly offset: number;
  /** Bytes; for a bit field the bytes that its bits fill. */
  readonly size: number;
  /** Inner structure (annotations.ts) that the member lies in. */
  readonly group: string | null;
}

export interface Struct {
  readonly name: string;
  readonly size: number;
  readonly fields: readonly Field[];
}

export interface Ioctl {
  readonly name: string;
  readonly nr: number;
  readonly arg: string;
  readonly size: number;
  readonly value: number;
}

export interface Definition {
  readonly abi: { readonly major: number; readonly minor: number; readonly page_size: number };
  readonly ioctls: readonly Ioctl[];
  readonly constants: Readonly<Record<string, number>>;
  readonly operations: Readonly<Record<string, number>>;
  readonly mountOperations: Readonly<Record<string, number>>;
  readonly iomTypes: Readonly<Record<string, number>>;
  readonly flags: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly structs: readonly Struct[];
}

interface RawField {
  decl: string;
  offset: number;
  size?: number;
  bit?: number;
}

interface RawDefinition {
  abi: Definition['abi'];
  ioctls: Record<string, Omit<Ioctl, 'name'>>;
  constants: Record<string, number | string>;
  operations: Record<string, number>;
  mount_operations: Record<string, number>;
  iom_types: Record<string, number>;
  flags: Record<string, Record<string, number>>;
  structs: Record<string, { size: number; fields: RawField[] }>;
}

export class DefinitionError extends Error {
  override readonly name = 'DefinitionError';
}

export const definitionPath = new URL('zufs-abi.yaml', import.meta.url);

/** Feature bits of the interface's own additions (zufs-abi.md, "What we add"). */
const features = {
  ZUFS_FEATURE_EXTENT_CACHE: 1,
  ZUFS_FEATURE_MEMORY_MOUNT: 2,
  ZUFS_FEATURE_RIDERS: 4,
  ZUFS_FEATURE_ALLOC_AHEAD: 8,
};

export function readDefinition(text: string = readFileSync(definitionPath, 'utf8')): Definition {
  const raw = parse(text) as RawDefinition;
  const structs = Object.entries(raw.structs).map(([name, struct]) => parseStruct(name, struct));
  const ioctls = Object.entries(raw.ioctls).map(([name, ioctl]) => ({ name, ...ioctl }));
  for (const struct of structs) checkStruct(struct, structs);
  for (const ioctl of ioctls) checkIoctl(ioctl, structs);
  // The checksum rule is prose; only numbers become constants.
  const constants = Object.fromEntries(
    Object.entries(raw.constants).filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
  );
  return {
    abi: raw.abi,
    ioctls,
    constants,
    operations: raw.operations,
    mountOperations: raw.mount_operations,
    iomTypes: raw.iom_types,
    flags: { ...raw.flags, features },
    structs,
  };
}

function parseStruct(name: string, raw: { size: number; fields: RawField[] }): Struct {
  const groups = Object.entries(annotations[name]?.groups ?? {});
  const fields = raw.fields.map((field): Field => {
    const match = /^(.*?)\s*(\w+)\s*(?:\[(\d*)\])?(?::(\d+))?[\s)]*$/.exec(field.decl);
    if (match === null) throw new DefinitionError(`${name}: cannot read the declaration '${field.decl}'`);
    const bits = match[4] === undefined ? null : Number(match[4]);
    const fieldName = match[2];
    return {
      name: fieldName,
      type: match[1],
      count: match[3] === undefined ? null : Number(match[3]),
      bits,
      offset: field.offset + (field.bit ?? 0) / 8,
      size: bits === null ? (field.size ?? 0) : bits / 8,
      group: groups.find(([, members]) => members.includes(fieldName))?.[0] ?? null,
    };
  });
  return { name, size: raw.size, fields };
}

const scalarSizes: Readonly<Record<string, number>> = {
  char: 1,
  __u8: 1,
  _Bool: 1,
  __u16: 2,
  __le16: 2,
  __u32: 4,
  __s32: 4,
  __le32: 4,
  __u64: 8,
  __le64: 8,
  ulong: 8,
  'void *': 8,
  zu_dpp_t: 8,
  uuid_le: 16,
};

export function sizeOfType(type: string, structs: readonly Struct[]): number {
  const tag = type.replace(/^struct /, '');
  const size = scalarSizes[type] ?? externalSizes[tag] ?? structs.find((struct) => struct.name === tag)?.size;
  if (size === undefined) throw new DefinitionError(`no size known of the type '${type}'`);
  return size;
}

function checkStruct(struct: Struct, structs: readonly Struct[]): void {
  for (const field of struct.fields) {
    const expected =
      field.bits !== null ? field.bits / 8 : sizeOfType(field.type, structs) * (field.count ?? 1);
    if (field.size !== expected) {
      throw new DefinitionError(
        `${struct.name}.${field.name}: size ${field.size}, its type says ${expected}`,
      );
    }
    if (field.offset + field.size > struct.size) {
      throw new DefinitionError(`${struct.name}.${field.name} ends beyond the structure`);
    }
  }
}

function checkIoctl(ioctl: Ioctl, structs: readonly Struct[]): void {
  const readWrite = 3;
  const value = ((readWrite << 30) | (ioctl.size << 16) | ('Z'.charCodeAt(0) << 8) | ioctl.nr) >>> 0;
  if (value !== ioctl.value)
    throw new DefinitionError(`${ioctl.name}: value does not follow from number and size`);
  if (!structs.some((struct) => struct.name === ioctl.arg)) {
    throw new DefinitionError(`${ioctl.name}: unknown argument ${ioctl.arg}`);
  }
}

/** Structure whose size the number of an ioctl carries: not always that of its argument. */
export function structOfIoctlNumber(ioctl: Ioctl, structs: readonly Struct[]): string {
  const own = structs.find((struct) => struct.name === ioctl.arg);
  if (own?.size === ioctl.size) return ioctl.arg;
  const other = structs.find((struct) => struct.size === ioctl.size && struct.name === 'zufs_ioc_init');
  if (other === undefined) throw new DefinitionError(`${ioctl.name}: no structure of ${ioctl.size} bytes`);
  return other.name;
}

export const statfs64Struct: Struct = {
  name: 'statfs64',
  size: externalSizes.statfs64,
  fields: statfs64.map(([name, offset, size]) => ({
    name,
    type: '__u64',
    count: null,
    bits: null,
    offset,
    size,
    group: null,
  })),
};
