// SPDX-License-Identifier: BSD-3-Clause

/** The definition as a C header for the kernel and for servers in C. */

import {
  structs as annotations,
  constantComments,
  flagComments,
  type StructAnnotation,
} from './annotations.ts';
import { type Definition, type Field, type Struct, structOfIoctlNumber } from './definition.ts';

/** The published interface has pointers of the server where the kernel has numbers that mean nothing to it. */
const cTypes: Readonly<Record<string, string>> = { 'void *': '__u64', ulong: '__u64', _Bool: '__u8' };

const guard = '_UAPI_LINUX_ZUFS_API_H';

export function cHeader(definition: Definition): string {
  const { major, minor, page_size } = definition.abi;
  const lines = [
    '/* SPDX-License-Identifier: ((GPL-2.0-only WITH Linux-syscall-note) OR BSD-3-Clause) */',
    '/*',
    ' * The interface between the zuf kernel module and a zufs server.',
    ' *',
    ' * Generated from server/abi/zufs-abi.yaml: do not edit.',
    ' *',
    ' * All structures have the same layout in kernel and user space (x86-64, little',
    ' * endian). A "cookie" is a number that the server chose and the kernel hands',
    ' * back; a "dpp" is an offset into a pool of memory that both sides see, with',
    ' * the number of the pool in its three low bits.',
    ' */',
    `#ifndef ${guard}`,
    `#define ${guard}`,
    '',
    '#include <linux/ioctl.h>',
    '#include <linux/stddef.h>',
    '#include <linux/types.h>',
    '',
    '/* glibc has the same struct statfs64; both cannot be there at once. */',
    '#if defined(__KERNEL__) || !defined(_SYS_STATFS_H)',
    '#include <asm/statfs.h>',
    '#endif',
    '',
    define('ZUFS_ABI_MAJOR', `${major}`),
    define('ZUFS_ABI_MINOR', `${minor}`),
    define('ZUFS_PAGE_SIZE', `${page_size}`),
    '',
    ...Object.entries(definition.constants).map(([name, value]) =>
      define(name, value >= 0x10000 ? hex(value) : `${value}`, constantComments[name]),
    ),
    '',
    '/* Dual-port pointer: pool number in the three low bits. */',
    'typedef __u64 zu_dpp_t;',
    '',
    ...enumeration('zufs_operation', 'zufs_ioc_hdr.operation on a server thread', definition.operations),
    ...enumeration(
      'zufs_mount_operation',
      'zufs_ioc_hdr.operation on the mount thread',
      definition.mountOperations,
    ),
    ...enumeration('zufs_iom_type', 'bits 56 and up of an iom_e entry', definition.iomTypes),
  ];
  for (const [group, flags] of Object.entries(definition.flags)) {
    lines.push(`/* ${flagComments[group] ?? group} */`);
    for (const [name, value] of Object.entries(flags)) lines.push(define(name, hex(value)));
    lines.push('');
  }
  for (const struct of definition.structs) {
    if (struct.name === 'zufs_ioc_mount') lines.push(...debugInfo);
    lines.push(...structure(struct), '');
  }
  for (const ioctl of definition.ioctls) {
    const argument = structOfIoctlNumber(ioctl, definition.structs);
    if (argument !== ioctl.arg) {
      lines.push('/*', ` * Takes struct ${ioctl.arg}; the size in the`);
      lines.push(' * number is that of another structure, and stays so.', ' */');
    }
    lines.push(define(ioctl.name, `_IOWR('Z', ${ioctl.nr}, struct ${argument})`));
  }
  lines.push('', `#endif /* ${guard} */`, '');
  return lines.join('\n');
}

const debugInfo = [
  '/* ZUFS_M_DDBG_RD and ZUFS_M_DDBG_WR, which this kernel never sends. */',
  'struct zufs_ddbg_info {',
  '\t__u64 reserved[2];',
  '};',
  '',
];

const hex = (value: number): string => `0x${value.toString(16)}`;

/** `#define NAME value`, the value at a tab stop as the kernel has it. */
function define(name: string, value: string, comment?: string): string {
  const columns = '#define '.length + name.length;
  const tabs = '\t'.repeat(Math.max(1, Math.ceil((40 - columns) / 8)));
  return `#define ${name}${tabs}${value}${comment === undefined ? '' : `\t/* ${comment} */`}`;
}

function enumeration(name: string, about: string, values: Readonly<Record<string, number>>): string[] {
  const lines = [`/* ${about} */`, `enum ${name} {`];
  for (const [key, value] of Object.entries(values)) {
    const tabs = '\t'.repeat(Math.max(1, Math.ceil((32 - 8 - key.length) / 8)));
    lines.push(`\t${key}${tabs}= ${value},`);
  }
  return [...lines, '};', ''];
}

function structure(struct: Struct): string[] {
  const annotation = annotations[struct.name];
  if (annotation === undefined) throw new Error(`annotations.ts says nothing of ${struct.name}`);
  const about = `struct ${struct.name} - ${annotation.about}`;
  return [
    '/**',
    ...wrap(about, ' * '),
    ...struct.fields.flatMap((field) => {
      const text = annotation.fields?.[field.name];
      const path = field.group === null ? field.name : `${field.group}.${field.name}`;
      return text === undefined ? [] : wrap(`@${path}: ${text}`, ' * ');
    }),
    ' */',
    `struct ${struct.name} {`,
    ...members(struct, annotation),
    '};',
  ];
}

/** The members in order, with overlapping ones in a union and every gap as a member of its own. */
function members(struct: Struct, annotation: StructAnnotation): string[] {
  const lines: string[] = [];
  const inUnion = annotation.union?.flat() ?? [];
  let end = 0;
  let gaps = 0;
  let unionDone = false;
  let group: string | null = null;
  for (const field of struct.fields) {
    const overlaps = inUnion.includes(field.name);
    if (overlaps && unionDone) continue;
    if (group !== null && field.group !== group) {
      lines.push(`\t} ${group};`);
      group = null;
    }
    if (field.offset > end) lines.push(`\t__u8 __gap${gaps++}[${field.offset - end}];`);
    if (overlaps) {
      const alternatives = (annotation.union ?? []).map((names) => names.map((name) => find(struct, name)));
      lines.push(...unionOf(alternatives));
      end = Math.max(...alternatives.flat().map((member) => member.offset + member.size));
      unionDone = true;
      continue;
    }
    if (field.group !== null && field.group !== group) {
      lines.push('\tstruct {');
      group = field.group;
    }
    lines.push(`${group === null ? '\t' : '\t\t'}${declaration(field)};`);
    end = field.offset + field.size;
  }
  if (group !== null) lines.push(`\t} ${group};`);
  // Flexible arrays stay last: a structure that has one ends where it starts.
  if (struct.size > end) lines.push(`\t__u8 __gap${gaps}[${struct.size - end}];`);
  return lines;
}

function find(struct: Struct, name: string): Field {
  const field = struct.fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw new Error(`annotations.ts: ${struct.name} has no member ${name}`);
  return field;
}

function unionOf(alternatives: readonly (readonly Field[])[]): string[] {
  const lines = ['\tunion {'];
  for (const fields of alternatives) {
    if (fields.length === 1) lines.push(`\t\t${declaration(fields[0], true)};`);
    else lines.push('\t\tstruct {', ...fields.map((field) => `\t\t\t${declaration(field)};`), '\t\t};');
  }
  return [...lines, '\t};'];
}

function declaration(field: Field, inUnion = false): string {
  if (field.type === 'uuid_le') return `__u8 ${field.name}[16]`;
  const type = cTypes[field.type] ?? field.type;
  if (field.bits !== null) return `${type} ${field.name}:${field.bits}`;
  if (field.count === null) return `${type} ${field.name}`;
  // C has no flexible array as the only member of a union; the kernel's macro for it works in user space too.
  if (field.count === 0 && inUnion) return `__DECLARE_FLEX_ARRAY(${type}, ${field.name})`;
  return `${type} ${field.name}[${field.count === 0 ? '' : field.count}]`;
}

function wrap(text: string, prefix: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && prefix.length + line.length + 1 + word.length > 79) {
      lines.push(prefix + line);
      line = `  ${word}`;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, prefix + line];
}
