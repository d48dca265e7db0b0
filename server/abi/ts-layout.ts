// SPDX-License-Identifier: BSD-3-Clause

/** The definition as constants for TypeScript. */

import { type Definition, type Struct, statfs64Struct } from './definition.ts';

export function tsLayout(definition: Definition): string {
  const structs = [...definition.structs, statfs64Struct];
  const lines = [
    '// SPDX-License-Identifier: BSD-3-Clause',
    '',
    '// Generated from zufs-abi.yaml by `npm run generate`: do not edit.',
    '//',
    '// One frozen object per structure: `SIZE`, and the byte offset of every member. Members of an embedded structure',
    '// are there too, with the name of the embedding member in front (`zmi_zus_sbi`), except those of `hdr`, which is',
    '// always at 0: use `zufs_ioc_hdr`.',
    '',
    `export const ABI = ${object(definition.abi)};`,
    '',
    '/** Command numbers for ioctl(2). */',
    `export const IOCTL = ${object(Object.fromEntries(definition.ioctls.map(({ name, value }) => [name, value])), true)};`,
    '',
    `export const CONST = ${object(definition.constants)};`,
    '',
    '/** `hdr.operation` on a server thread. */',
    `export const OP = ${object(definition.operations)};`,
    '',
    '/** `hdr.operation` on the mount thread. */',
    `export const MOUNT_OP = ${object(definition.mountOperations)};`,
    '',
    '/** Bits 56 and up of an `iom_e` entry. */',
    `export const IOM = ${object(definition.iomTypes)};`,
    '',
    '/** All flag bits; their names say which field they belong to. */',
    `export const FLAG = ${object(Object.assign({}, ...Object.values(definition.flags)), true)};`,
  ];
  for (const struct of structs) {
    lines.push(
      '',
      `export const ${struct.name} = ${object({ SIZE: struct.size, ...offsets(struct, structs, 0, '') })};`,
    );
  }
  return `${lines.join('\n')}\n`;
}

function offsets(
  struct: Struct,
  structs: readonly Struct[],
  base: number,
  prefix: string,
): Record<string, number> {
  const result: Record<string, number> = {};
  for (const field of struct.fields) {
    const name = prefix + (field.group === null ? field.name : `${field.group}_${field.name}`);
    result[name] = base + field.offset;
    const inner = structs.find((candidate) => `struct ${candidate.name}` === field.type);
    if (inner !== undefined && inner.name !== 'zufs_ioc_hdr' && field.count === null) {
      Object.assign(result, offsets(inner, structs, base + field.offset, `${name}_`));
    }
  }
  return result;
}

function object(values: Readonly<Record<string, number>>, hexadecimal = false): string {
  const lines = Object.entries(values).map(
    ([name, value]) => `  ${name}: ${hexadecimal ? `0x${value.toString(16)}` : value},`,
  );
  return `Object.freeze({\n${lines.join('\n')}\n} as const)`;
}
